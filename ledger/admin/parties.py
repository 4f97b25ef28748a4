"""Models, circuit releases, commitments."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _

from ledger.admin.base import ReadOnlyAdmin, ask_each, entry_link, link
from ledger.admin.widgets import reason_form
from ledger.models import CircuitRelease, ClientModel, GlobalModel
from ledger.workflow.actors import officer
from ledger.workflow.releases import retire_model


@admin.register(GlobalModel)
class GlobalModelAdmin(ReadOnlyAdmin):
    tells = True
    list_display = [
        "name",
        "uuid",
        "dataset",
        "total_weights",
        "supersedes",
        "retired_reason",
        "logged",
        "created_at",
    ]
    actions = ["retire"]
    search_fields = ["name", "uuid", "file_sha256"]
    list_filter = ["dataset", ("retired_entry", admin.EmptyFieldListFilter)]
    list_select_related = ["supersedes"]
    logged = entry_link("entry", _("log entry"))

    @admin.action(description=_("Retire selected models …"), permissions=["decide"])
    def retire(self, request: HttpRequest, rows: QuerySet[GlobalModel]) -> HttpResponse | None:
        actor = officer(request.user)
        return ask_each(
            self, request, rows, "retire", reason_form("retirement"), _("Retire the model"), _("retired"),
            lambda row, v: retire_model(row.pk, v["reason"], actor=actor),
            _("It is out of use for good: no more windows and commitments on it."),
        )  # fmt: skip

    def has_decide_permission(self, request: Any) -> bool:
        return bool(request.user.has_perm("ledger.change_globalmodel"))


@admin.register(CircuitRelease)
class CircuitReleaseAdmin(ReadOnlyAdmin):
    list_display = ["uuid", "logged", "srs_provenance", "created_at"]
    list_filter = ["srs_provenance"]
    logged = entry_link("entry", _("log entry"))


@admin.register(ClientModel)
class ClientModelAdmin(ReadOnlyAdmin):
    list_display = ["uuid", "client_link", "model", "state", "continuity", "chunks", "logged", "created_at"]
    list_filter = ["state", "continuity", "model"]
    search_fields = ["uuid", "client__name", "weights_sha256", "curvature_sha256"]
    list_select_related = ["client", "model"]
    logged = entry_link("entry", _("log entry"))

    @admin.display(description=_("client"), ordering="client__name")
    def client_link(self, row: ClientModel) -> str:
        return link(row.client)
