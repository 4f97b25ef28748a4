"""Deletion requests: filed, approved, denied."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.html import format_html

from ledger.admin.base import AddByUseCase, UseCaseForm, each, entry_link, link
from ledger.models import DeletionRequest, GlobalModel
from ledger.workflow.erase import REASONS, erase
from ledger.workflow.errors import WorkflowError
from ledger.workflow.requests import decide_request, file_request
from ledger.workflow.windows import open_window


class FilingForm(UseCaseForm):
    """What an officer knows when a request comes in."""

    regulation = forms.ChoiceField(choices=DeletionRequest.Regulation.choices)
    subject = forms.CharField(max_length=1000, help_text="your reference to the person; sealed, never in the log")
    dataset = forms.CharField(max_length=200)
    forget_class = forms.IntegerField(min_value=0, label="Class", help_text="label of the data to forget")
    received_at = forms.DateTimeField(required=False, help_text="UTC; empty means now")

    class Meta:
        model = DeletionRequest
        fields: list[str] = []

    def carry_out(self, values: dict[str, Any]) -> DeletionRequest:
        forget = {"dataset": values["dataset"], "class": values["forget_class"]}
        return file_request(values["regulation"], values["subject"], forget, values["received_at"])


class ErasureForm(forms.Form):
    """Why, and that it is meant."""

    reason = forms.ChoiceField(choices=[(code, code) for code in REASONS])
    confirmed = forms.BooleanField(label="Destroy what is known about who asked; it cannot be undone")


@admin.register(DeletionRequest)
class DeletionRequestAdmin(AddByUseCase):
    use_case_form = FilingForm
    list_display = ["short", "regulation", "state", "due_at", "days_left", "forget", "window_link", "filed"]
    list_filter = ["state", "regulation", "due_at", "received_at"]
    search_fields = ["uuid", "window__uuid"]
    search_help_text = "UUID of the request or its window; who asked is sealed in the vault"
    list_select_related = ["window__model", "filed_entry", "decision_entry", "erased_entry"]
    date_hierarchy = "received_at"
    actions = ["approve", "deny", "open_window", "erase"]
    fields = [
        "uuid", "regulation", "state", "received_at", "due_at", "days_left", "forget", "window_link", "filed",
        "decided", "decision_reason", "certificate_link", "erased",
    ]  # fmt: skip
    filed = entry_link("filed_entry", "filed")
    decided = entry_link("decision_entry", "decision")
    erased = entry_link("erased_entry", "tombstone")

    @admin.display(description="request", ordering="uuid")
    def short(self, row: DeletionRequest) -> str:
        return str(row.uuid)[:8]

    @admin.display(description="days left", ordering="due_at")
    def days_left(self, row: DeletionRequest) -> str:
        if row.state not in (DeletionRequest.State.OPEN, DeletionRequest.State.IN_PROGRESS):
            return "–"
        days = (row.due_at - timezone.now()).days
        return str(days) if days >= 0 else f"{-days} late"

    @admin.display(description="window")
    def window_link(self, row: DeletionRequest) -> str:
        return link(row.window)

    @admin.display(description="certificate")
    def certificate_link(self, row: DeletionRequest) -> str:
        return link(getattr(row, "certificate", None))

    @admin.action(description="Approve selected requests", permissions=["decide"])
    def approve(self, request: HttpRequest, rows: QuerySet[DeletionRequest]) -> None:
        each(request, rows, lambda row: decide_request(row.pk, "approved"), "approved")

    @admin.action(description="Deny selected requests (reason: officer)", permissions=["decide"])
    def deny(self, request: HttpRequest, rows: QuerySet[DeletionRequest]) -> None:
        each(request, rows, lambda row: decide_request(row.pk, "denied", "officer"), "denied")

    @admin.action(description="Open a window for selected requests", permissions=["decide"])
    def open_window(self, request: HttpRequest, rows: QuerySet[DeletionRequest]) -> None:
        """One window for all of them, on the newest model of their dataset."""
        chosen = list(rows)
        model = GlobalModel.objects.filter(dataset=chosen[0].forget["dataset"]).order_by("-entry").first()
        if model is None:
            messages.error(request, f"no model has the dataset {chosen[0].forget['dataset']!r}: release one first")
            return
        try:
            window = open_window(model, None, [row.pk for row in chosen])
        except WorkflowError as error:
            messages.error(request, error.sentence)
        else:
            messages.success(request, format_html("opened {}", link(window)))

    @admin.action(description="Erase who asked, for good", permissions=["decide"])
    def erase(self, request: HttpRequest, rows: QuerySet[DeletionRequest]) -> HttpResponse | None:
        """Asks for the reason and a yes first: nothing brings the subject back."""
        form = ErasureForm(request.POST if "confirmed" in request.POST else None)
        if form.is_valid():
            each(request, rows, lambda row: erase(row.pk, form.cleaned_data["reason"]), "erased")
            return None
        context = self.admin_site.each_context(request) | {
            "title": "Erase who asked, for good",
            "opts": self.opts,
            "form": form,
            "rows": rows,
            "name": ACTION_CHECKBOX_NAME,
        }
        return TemplateResponse(request, "admin/ledger/erase.html", context)

    def has_decide_permission(self, request: Any) -> bool:
        return bool(request.user.has_perm("ledger.change_deletionrequest"))
