"""Clients (invited here), models, circuit releases, commitments."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest

from ledger.admin.base import ReadOnlyAdmin, entry_link, link
from ledger.models import CircuitRelease, Client, ClientModel, GlobalModel
from ledger.workflow.clients import invite_client
from ledger.workflow.errors import WorkflowError


class InvitationForm(forms.ModelForm):
    """Only a name; the workflow makes the rest."""

    class Meta:
        model = Client
        fields = ["name"]

    def clean(self) -> dict[str, Any]:
        """Invite the client while a refusal can still be shown beside the field."""
        cleaned = super().clean() or {}
        if not self.errors:
            try:
                self.instance, self.token = invite_client(cleaned["name"])
            except WorkflowError as error:
                raise ValidationError({"name": error.sentence}) from error
        return cleaned

    def validate_unique(self) -> None:
        """The workflow has seen to it."""


@admin.register(Client)
class ClientAdmin(ReadOnlyAdmin):
    list_display = ["name", "uuid", "enrolled", "short_keyid", "invited_at", "token_used_at"]
    search_fields = ["name", "uuid", "keyid"]
    list_filter = ["invited_at", ("enrolled_entry", admin.EmptyFieldListFilter)]
    list_select_related = ["enrolled_entry"]
    fields = ["name", "uuid", "public_key", "keyid", "enrolled", "invited_at", "token_used_at"]
    enrolled = entry_link("enrolled_entry", "enrolled")

    @admin.display(description="key ID")
    def short_keyid(self, row: Client) -> str:
        return f"{row.keyid[:16]}…" if row.keyid else "–"

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("ledger.add_client")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return ["name"] if obj is None else self.fields

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        return super().get_form(request, obj, change, **kwargs) if obj else InvitationForm

    def save_model(self, request: HttpRequest, obj: Client, form: Any, change: bool) -> None:
        messages.warning(request, f"enrolment token of {obj.name}, shown this once: {form.token}")


@admin.register(GlobalModel)
class GlobalModelAdmin(ReadOnlyAdmin):
    list_display = ["name", "uuid", "dataset", "total_weights", "logged", "created_at"]
    search_fields = ["name", "uuid", "file_sha256"]
    list_filter = ["dataset"]
    list_select_related = ["entry"]
    logged = entry_link("entry", "log entry")


@admin.register(CircuitRelease)
class CircuitReleaseAdmin(ReadOnlyAdmin):
    list_display = ["uuid", "logged", "srs_provenance", "created_at"]
    list_filter = ["srs_provenance"]
    list_select_related = ["entry"]
    logged = entry_link("entry", "log entry")


@admin.register(ClientModel)
class ClientModelAdmin(ReadOnlyAdmin):
    list_display = ["uuid", "client_link", "model", "state", "chunks", "logged", "created_at"]
    list_filter = ["state", "model", "client"]
    search_fields = ["uuid", "client__name", "weights_sha256", "curvature_sha256"]
    list_select_related = ["client", "model", "entry"]
    logged = entry_link("entry", "log entry")

    @admin.display(description="client", ordering="client__name")
    def client_link(self, row: ClientModel) -> str:
        return link(row.client)
