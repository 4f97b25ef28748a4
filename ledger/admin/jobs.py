"""Background jobs: how far they are, what went wrong, once more."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from ledger.admin import progress
from ledger.admin.base import ReadOnlyAdmin, each
from ledger.models import Job
from ledger.workflow.jobs import retry_job


@admin.register(Job)
class JobAdmin(ReadOnlyAdmin):
    live = True
    list_display = ["uuid", "kind", "target", "state", "percent", "message", "attempts", "created_at"]
    list_filter = ["state", "kind", "created_at"]
    search_fields = ["uuid", "target", "error"]
    actions = ["retry"]

    def beside(self, request: HttpRequest, row: Job) -> dict[str, Any]:
        return super().beside(request, row) | {"progress": progress.of_job(row)}

    @admin.display(description=_("progress"), ordering="progress")
    def percent(self, row: Job) -> str:
        return f"{row.progress:.0%}"

    @admin.action(description=_("Start selected failed jobs anew"), permissions=["retry"])
    def retry(self, request: HttpRequest, rows: QuerySet[Job]) -> None:
        each(request, rows, lambda row: retry_job(row.pk), _("queued"))

    def has_retry_permission(self, request: Any) -> bool:
        return bool(request.user.has_perm("ledger.change_job"))
