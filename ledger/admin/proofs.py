"""Claims, challenges, proofs, verdicts, certificates."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from ledger.admin import plain_words
from ledger.admin.base import ReadOnlyAdmin, entry_link, link
from ledger.models import Certificate, Challenge, Claim, Continuation, ProofSubmission, VerdictRecord


class _Logged(ReadOnlyAdmin):
    tells = True
    ordering = ["-entry"]
    logged = entry_link("entry", _("log entry"))


@admin.register(Claim)
class ClaimAdmin(_Logged):
    list_display = ["uuid", "order", "attempt", "logged"]
    list_filter = ["order__window", "attempt"]
    search_fields = ["uuid", "order__uuid", "order__client_model__client__name", "weights_sha256"]
    list_select_related = ["order__client_model__client"]


@admin.register(Challenge)
class ChallengeAdmin(_Logged):
    list_display = ["uuid", "claim", "checkpoint", "logged"]
    search_fields = ["uuid", "claim__uuid", "claim__order__uuid"]
    list_select_related = ["claim__order__client_model__client", "checkpoint"]


@admin.register(ProofSubmission)
class ProofSubmissionAdmin(_Logged):
    list_display = ["uuid", "claim", "bundle_sha256", "logged"]
    search_fields = ["uuid", "claim__order__uuid", "bundle_sha256"]
    list_select_related = ["claim__order__client_model__client"]


@admin.register(VerdictRecord)
class VerdictRecordAdmin(_Logged):
    list_display = ["uuid", "accepted", "proof", "logged"]
    list_filter = ["accepted", "proof__claim__order__window"]
    search_fields = ["uuid", "proof__uuid", "proof__claim__order__uuid"]
    list_select_related = ["proof__claim__order__client_model__client"]
    fields = ("proof", "accepted", "logged")

    def beside(self, request: HttpRequest, row: VerdictRecord) -> dict[str, Any]:
        return super().beside(request, row) | {"plain_words": plain_words.of_verdict(row)}


@admin.register(Certificate)
class CertificateAdmin(_Logged):
    list_display = ["uuid", "request_link", "window", "complete", "logged"]
    list_filter = ["complete", "window"]
    search_fields = ["uuid", "request__uuid", "window__uuid"]
    list_select_related = ["request", "window__model"]
    fields = ("uuid", "request_link", "window_link", "complete", "earlier", "later", "logged")

    def beside(self, request: HttpRequest, row: Certificate) -> dict[str, Any]:
        return super().beside(request, row) | {"plain_words": plain_words.of_certificate(row)}

    @admin.display(description=_("request"))
    def request_link(self, row: Certificate) -> str:
        return link(row.request)

    @admin.display(description=_("window"))
    def window_link(self, row: Certificate) -> str:
        return link(row.window)

    @admin.display(description=_("brings up to date"))
    def earlier(self, row: Certificate) -> str:
        return link(row.supplements)

    @admin.display(description=_("brought up to date by"))
    def later(self, row: Certificate) -> str:
        return link(Certificate.objects.filter(supplements=row).first())


@admin.register(Continuation)
class ContinuationAdmin(ReadOnlyAdmin):
    list_display = ["uuid", "commitment", "continuity", "challenged", "proved", "judged"]
    list_filter = ["client_model__continuity"]
    list_select_related = ["client_model__client", "client_model__model"]
    challenged = entry_link("challenge_entry", _("challenge"))
    proved = entry_link("proof_entry", _("proof"))
    judged = entry_link("verdict_entry", _("verdict"))

    @admin.display(description=_("commitment"))
    def commitment(self, row: Continuation) -> str:
        return link(row.client_model)

    @admin.display(description=_("zeros"))
    def continuity(self, row: Continuation) -> str:
        return row.client_model.get_continuity_display()
