"""Witnesses: who cosigns, who does not, and why a checkpoint is not published."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from ledger import publication
from ledger.admin.base import ReadOnlyAdmin
from ledger.models import CheckpointProposal, Cosignature, WitnessState
from ledger.workflow.errors import WorkflowError
from ledger.workflow.jobs import ask_witnesses_now


@admin.register(WitnessState)
class WitnessStateAdmin(ReadOnlyAdmin):
    list_display = ["name", "configured", "state", "in_order", "message", "size", "asked_at", "cosigned_at"]
    list_filter = ["state"]
    search_fields = ["vkey", "url", "message"]
    actions = ["ask_now"]

    @admin.display(description=_("configured"), boolean=True)
    def configured(self, row: WitnessState) -> bool:
        return row.vkey in {witness.vkey for witness in publication.policy().witnesses}

    @admin.display(description=_("in order"), boolean=True)
    def in_order(self, row: WitnessState) -> bool | None:
        return {row.State.COSIGNED: True, row.State.NEW: None}.get(row.State(row.state), False)

    @admin.action(description=_("Ask all witnesses now"), permissions=["ask"])
    def ask_now(self, request: HttpRequest, rows: QuerySet[WitnessState]) -> None:
        try:
            size = ask_witnesses_now()
        except WorkflowError as error:
            messages.error(request, error.sentence)
        else:
            messages.success(request, _("the checkpoint of %(size)s entries is published") % {"size": size})

    def has_ask_permission(self, request: Any) -> bool:
        return bool(request.user.has_perm("ledger.change_witnessstate"))


@admin.register(CheckpointProposal)
class CheckpointProposalAdmin(ReadOnlyAdmin):
    list_display = ["size", "root_hex", "cosigners", "created_at"]
    list_filter = ["created_at"]
    ordering = ["-size"]
    fields = ["size", "root_hex", "cosigners", "created_at"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[CheckpointProposal]:
        return super().get_queryset(request).prefetch_related("cosignatures")

    @admin.display(description=_("root"))
    def root_hex(self, row: CheckpointProposal) -> str:
        return bytes(row.root).hex()

    @admin.display(description=_("cosigned by"))
    def cosigners(self, row: CheckpointProposal) -> str:
        return ", ".join(cosignature.name for cosignature in row.cosignatures.all()) or gettext("nobody yet")


@admin.register(Cosignature)
class CosignatureAdmin(ReadOnlyAdmin):
    list_display = ["proposal_id", "name", "time", "created_at"]
    list_filter = ["vkey", "created_at"]
    search_fields = ["proposal__size__exact", "vkey"]
    ordering = ["-proposal"]
