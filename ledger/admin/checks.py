"""Checks of the whole log: an alarm stands at the top of the list, in words."""

from __future__ import annotations

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from ledger.admin.base import ReadOnlyAdmin
from ledger.models import FsckRun


@admin.register(FsckRun)
class FsckRunAdmin(ReadOnlyAdmin):
    list_display = ["started_at", "outcome", "entries", "took", "problem"]
    list_filter = ["started_at", ("problem", admin.EmptyFieldListFilter)]
    fields = ["started_at", "outcome", "entries", "took", "problem"]
    search_fields = ["uuid__exact", "problem"]

    @admin.display(description=_("seconds"), ordering="seconds")
    def took(self, row: FsckRun) -> str:
        return f"{row.seconds:.1f}"

    @admin.display(description=_("all is well"), boolean=True)
    def outcome(self, row: FsckRun) -> bool:
        return not row.problem
