"""Clients (invited here), models, circuit releases, commitments."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest

from ledger.admin.base import AddByUseCase, ReadOnlyAdmin, UseCaseForm, entry_link, link
from ledger.models import CircuitRelease, Client, ClientModel, GlobalModel
from ledger.workflow.clients import invite_client


class InvitationForm(UseCaseForm):
    """Only a name; the workflow makes the rest."""

    name = forms.CharField(max_length=200)

    class Meta:
        model = Client
        fields: list[str] = []

    def carry_out(self, values: dict[str, Any]) -> Client:
        client, self.token = invite_client(values["name"])
        return client


@admin.register(Client)
class ClientAdmin(AddByUseCase):
    use_case_form = InvitationForm
    list_display = ["name", "uuid", "enrolled", "short_keyid", "invited_at", "token_used_at"]
    search_fields = ["name", "uuid", "keyid"]
    list_filter = ["invited_at", ("enrolled_entry", admin.EmptyFieldListFilter)]
    list_select_related = ["enrolled_entry"]
    fields = ["name", "uuid", "public_key", "keyid", "enrolled", "invited_at", "token_used_at"]
    enrolled = entry_link("enrolled_entry", "enrolled")

    @admin.display(description="key ID")
    def short_keyid(self, row: Client) -> str:
        return f"{row.keyid[:16]}…" if row.keyid else "–"

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
