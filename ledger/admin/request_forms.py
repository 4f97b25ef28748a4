"""What the pages ask for when something happens to a deletion request."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from ledger import texts
from ledger.access import scope
from ledger.admin.base import UseCaseForm
from ledger.models import DeletionRequest
from ledger.workflow import request_steps
from ledger.workflow.references import Reference, preview
from ledger.workflow.requests import file_request


class QueryField(forms.JSONField):
    """Empty where nothing is asked for, not "null"."""

    def prepare_value(self, value: Any) -> Any:
        return "" if value is None else super().prepare_value(value)


class FilingForm(UseCaseForm):
    """What an officer knows when a request comes in."""

    regulation = forms.ChoiceField(choices=texts.of_field(DeletionRequest, "regulation"))
    subject = forms.CharField(
        max_length=1000, help_text=_("your reference to the person; sealed, never in the log")
    )
    data_set = forms.CharField(max_length=200)  # the theme has its own use for a field called "dataset"
    forget_class = forms.IntegerField(
        min_value=0, required=False, label=_("Class"), help_text=_("a whole class, or")
    )
    classes = forms.CharField(required=False, help_text=_("several, separated by commas, or"))
    samples = forms.CharField(
        required=False, widget=forms.Textarea(attrs={"rows": 3}), help_text=_("ids of samples, one per line, or")
    )
    query = QueryField(required=False, help_text=_('fields and their values, as {"site": "north"}'))
    received_at = forms.DateTimeField(required=False, help_text=_("UTC; empty means now"))
    subject_request_id = forms.UUIDField(required=False, help_text=_("your own number of the request, a UUID"))
    status_callback_urls = forms.CharField(
        required=False, widget=forms.Textarea(attrs={"rows": 2}), help_text=_("https, one per line")
    )
    allow_duplicate = forms.ChoiceField(
        required=False,
        choices=[("", "–"), *texts.choices("duplicate")],
        help_text=_("why to file it although the person has asked for the same before"),
    )
    count_only = forms.BooleanField(
        required=False, label=_("Only count"), help_text=_("say how many samples this matches, and file nothing")
    )

    class Meta:
        model = DeletionRequest
        fields: list[str] = []

    def carry_out(self, values: dict[str, Any]) -> DeletionRequest:
        forget = self._forget(values)
        if not scope.sees_data(self.user, values["data_set"]):
            raise ValidationError(
                _("no model of this account has the data set %(data_set)s") % {"data_set": repr(values["data_set"])}
            )
        if values["count_only"]:
            raise ValidationError(
                _("%(sentence)s; nothing was filed. Untick “only count” to file it.")
                % {"sentence": preview(forget).sentence}
            )
        return file_request(
            values["regulation"],
            values["subject"],
            forget,
            values["received_at"],
            subject_request_id=values["subject_request_id"],
            status_callback_urls=values["status_callback_urls"].split(),
            allow_duplicate=values["allow_duplicate"],
            actor=self.actor,
        )

    @staticmethod
    def _forget(values: dict[str, Any]) -> dict[str, Any]:
        parts: dict[str, Any] = {
            "class": values["forget_class"],
            "classes": [_number(part) for part in values["classes"].replace(",", " ").split()] or None,
            "samples": values["samples"].split() or None,
            "query": values["query"],
        }
        given = {name: value for name, value in parts.items() if value is not None}
        if len(given) != 1:
            raise ValidationError(
                _("give one of class, classes, samples and query; got %(given)s of them") % {"given": len(given)}
            )
        return Reference.parse({"dataset": values["data_set"], **given}).json()


def _number(text: str) -> int | str:
    return int(text) if text.isascii() and text.isdigit() else text


class ApprovalForm(forms.Form):
    reason = forms.ChoiceField(choices=[("", "–"), *texts.choices("approval")], required=False)


class IdentityForm(forms.Form):
    method = forms.ChoiceField(choices=texts.choices("method"))
    result = forms.ChoiceField(choices=texts.choices("identity"))
    detail = forms.CharField(
        required=False,
        max_length=request_steps.MAX_DETAIL,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text=_("may be personal: it is sealed, shown nowhere, and erased with the subject"),
    )


class ExtensionForm(forms.Form):
    reason = forms.ChoiceField(choices=texts.choices("extension"))
    notified_at = forms.DateTimeField(
        required=False, help_text=_("UTC; when the person was told, with the reasons")
    )


class ErasureForm(forms.Form):
    """Why, and that it is meant."""

    reason = forms.ChoiceField(choices=texts.choices("erasure"))
    certain = forms.BooleanField(label=_("Destroy what is known about who asked; it cannot be undone"))
