"""What the pages ask for when something happens to a deletion request."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from ledger.access import scope
from ledger.admin.base import UseCaseForm
from ledger.models import DeletionRequest, IdentityCheck
from ledger.statements import lifecycle
from ledger.workflow import request_steps
from ledger.workflow.erase import REASONS
from ledger.workflow.references import Reference, preview
from ledger.workflow.requests import file_request


class FilingForm(UseCaseForm):
    """What an officer knows when a request comes in."""

    regulation = forms.ChoiceField(choices=DeletionRequest.Regulation.choices)
    subject = forms.CharField(max_length=1000, help_text="your reference to the person; sealed, never in the log")
    data_set = forms.CharField(max_length=200)  # the theme has its own use for a field called "dataset"
    forget_class = forms.IntegerField(min_value=0, required=False, label="Class", help_text="a whole class, or")
    classes = forms.CharField(required=False, help_text="several, separated by commas, or")
    samples = forms.CharField(
        required=False, widget=forms.Textarea(attrs={"rows": 3}), help_text="ids of samples, one per line, or"
    )
    query = forms.JSONField(required=False, help_text='fields and their values, as {"site": "north"}')
    received_at = forms.DateTimeField(required=False, help_text="UTC; empty means now")
    subject_request_id = forms.UUIDField(required=False, help_text="your own number of the request, a UUID")
    status_callback_urls = forms.CharField(
        required=False, widget=forms.Textarea(attrs={"rows": 2}), help_text="https, one per line"
    )
    allow_duplicate = forms.ChoiceField(
        required=False,
        choices=[("", "–"), *((code, one.meaning) for code, one in lifecycle.DUPLICATE.items())],
        help_text="why to file it although the person has asked for the same before",
    )
    count_only = forms.BooleanField(
        required=False, label="Only count", help_text="say how many samples this matches, and file nothing"
    )

    class Meta:
        model = DeletionRequest
        fields: list[str] = []

    def carry_out(self, values: dict[str, Any]) -> DeletionRequest:
        forget = self._forget(values)
        if not scope.sees_data(self.user, values["data_set"]):
            raise ValidationError(f"no model of this account has the data set {values['data_set']!r}")
        if values["count_only"]:
            raise ValidationError(f"{preview(forget).sentence}; nothing was filed. Untick “only count” to file it.")
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
            raise ValidationError(f"give one of class, classes, samples and query; got {len(given)} of them")
        return Reference.parse({"dataset": values["data_set"], **given}).json()


def _number(text: str) -> int | str:
    return int(text) if text.isascii() and text.isdigit() else text


def _reasons(register: str) -> list[tuple[str, str]]:
    return [(code, f"{code}: {one.meaning}") for code, one in lifecycle.REASONS[register].items()]


class ApprovalForm(forms.Form):
    reason = forms.ChoiceField(choices=[("", "–"), *_reasons("approval")], required=False)


class DenialForm(forms.Form):
    reason = forms.ChoiceField(choices=_reasons("denial"))


class IdentityForm(forms.Form):
    method = forms.ChoiceField(choices=[(code, f"{code}: {words}") for code, words in lifecycle.METHODS.items()])
    result = forms.ChoiceField(choices=IdentityCheck.Result.choices)
    detail = forms.CharField(
        required=False,
        max_length=request_steps.MAX_DETAIL,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="may be personal: it is sealed, shown nowhere, and erased with the subject",
    )


class ExtensionForm(forms.Form):
    reason = forms.ChoiceField(choices=_reasons("extension"))
    notified_at = forms.DateTimeField(required=False, help_text="UTC; when the person was told, with the reasons")


class HoldForm(forms.Form):
    reason = forms.ChoiceField(choices=_reasons("hold"))


class LiftForm(forms.Form):
    reason = forms.ChoiceField(choices=_reasons("lift"))


class RevocationForm(forms.Form):
    reason = forms.ChoiceField(choices=_reasons("revocation"))


class AccessForm(forms.Form):
    reason = forms.ChoiceField(choices=_reasons("access"))


class ErasureForm(forms.Form):
    """Why, and that it is meant."""

    reason = forms.ChoiceField(choices=[(code, code) for code in REASONS])
    certain = forms.BooleanField(label="Destroy what is known about who asked; it cannot be undone")
