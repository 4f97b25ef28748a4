"""Policies: set anew to change one."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _

from ledger.admin.base import AddByUseCase, UseCaseForm, ask_each
from ledger.models import GlobalModel, Policy
from ledger.workflow.actors import officer
from ledger.workflow.policies import PolicyValues, drop_policy, set_policy


class PolicyForm(UseCaseForm):
    """The values are JSON, with the defaults filled in."""

    model = forms.ModelChoiceField(
        GlobalModel.objects.all(),
        required=False,
        help_text=_("empty: the default, for models without their own"),
    )
    values = forms.JSONField(
        initial=lambda: PolicyValues().json(), widget=forms.Textarea(attrs={"rows": 18, "cols": 80})
    )

    class Meta:
        model = Policy
        fields: list[str] = []

    def carry_out(self, values: dict[str, Any]) -> Policy:
        model = values["model"]
        return set_policy(None if model is None else model.pk, values["values"], actor=self.actor)


@admin.register(Policy)
class PolicyAdmin(AddByUseCase):
    use_case_form = PolicyForm
    list_display = ["__str__", "updated_at"]
    list_select_related = ["model"]
    search_fields = ["model__name"]
    fields = ["model", "values", "anchored_at", "updated_at"]
    actions = ["drop"]

    @admin.action(description=_("Drop selected policies …"), permissions=["decide"])
    def drop(self, request: HttpRequest, rows: QuerySet[Policy]) -> HttpResponse | None:
        actor = officer(request.user)
        return ask_each(
            self, request, rows, "drop", forms.Form, _("Drop the policy"), _("dropped"),
            lambda row, _: drop_policy(row.model_id, actor=actor),
            _("From now on the default counts for its model."),
        )  # fmt: skip

    def has_decide_permission(self, request: Any) -> bool:
        return bool(request.user.has_perm("ledger.change_policy"))
