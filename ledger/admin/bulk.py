"""Actions on many rows: how far they are, and what became of each row."""

from __future__ import annotations

from typing import Any, Final

from django.contrib import admin
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin

from ledger.access import scope
from ledger.admin.base import ReadOnlyAdmin
from ledger.models import BulkRow, BulkRun, Job

_SHOWN: Final = 200  # rows of a run on its page, refused ones first


@admin.register(BulkRun)
class BulkRunAdmin(ReadOnlyAdmin):
    live = True
    list_display = ["short", "what", "rows", "done", "refused", "actor_name", "created_at", "finished_at"]
    list_filter = ["table", "created_at"]
    search_fields = ["uuid", "actor_name", "lines__target"]
    search_help_text = _("UUID of the bulk action or of one of its rows, or who started it")
    fields = ["uuid", "what", "rows", "done", "refused", "actor_name", "created_at", "finished_at"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[BulkRun]:
        """Accounts with limits see their own: what others do may concern other models."""
        rows = ModelAdmin.get_queryset(self, request)
        if scope.limits(request.user):
            rows = rows.filter(actor_kind="officer", actor_id=str(request.user.pk))
        counts = {f"in_{one.name.lower()}": Count("lines", filter=Q(lines__outcome=one)) for one in BulkRow.Outcome}
        counted: QuerySet[BulkRun] = rows.annotate(**counts)
        return counted

    def beside(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        return super().beside(request, row) | {"bulk": how_far(row)}

    @admin.display(description=_("bulk action"), ordering="uuid")
    def short(self, row: BulkRun) -> str:
        return str(row.uuid)[:8]

    @admin.display(description=_("action"))
    def what(self, row: BulkRun) -> str:
        page = _page_of(row)
        return str(getattr(getattr(page, row.action), "short_description", row.action)).removesuffix(" …")

    @admin.display(description=_("done"))
    def done(self, row: Any) -> int:
        return int(row.in_done)

    @admin.display(description=_("refused"))
    def refused(self, row: Any) -> int:
        return int(row.in_refused)


def how_far(row: Any) -> dict[str, Any]:
    """Its figures, and its rows: refused ones first, then those that wait, then the rest."""
    names = {"refused": 0, "": 1, "done": 2}
    page = _page_of(row)
    lines: list[Any] = sorted(row.lines.all(), key=lambda line: (names[line.outcome], line.pk))
    for line in lines[:_SHOWN]:
        line.address = reverse(f"admin:ledger_{row.table}_change", args=[line.target])
        line.words = {"refused": gettext("refused"), "": gettext("waiting"), "done": gettext("done")}[line.outcome]
    job = Job.objects.filter(kind=Job.Kind.BULK, target=row.pk).first()
    over = row.in_done + row.in_refused
    return {
        "done": row.in_done, "refused": row.in_refused, "waiting": row.in_waiting, "rows": row.rows,
        "percent": round(100 * over / row.rows), "lines": lines[:_SHOWN], "more": max(0, len(lines) - _SHOWN),
        "error": job.error if job is not None and job.state == Job.State.FAILED else "",
        "list": reverse(f"admin:ledger_{row.table}_changelist"), "table": page.opts.verbose_name_plural,
        "language": row.language or "en",
    }  # fmt: skip


def _page_of(row: BulkRun) -> Any:
    return next(page for page in admin.site._registry.values() if page.opts.model_name == row.table)  # noqa: SLF001
