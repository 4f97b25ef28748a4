"""What all pages share: read-only rows, links between them, actions that report refusals in words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from ledger.workflow.errors import WorkflowError


class ReadOnlyAdmin(admin.ModelAdmin):
    """Rows are looked at, never edited: they come from the workflow only."""

    list_per_page = 50
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


def link(row: Model | None, label: str | None = None) -> SafeString | str:
    """A link to the page of `row`; a dash for None."""
    if row is None:
        return "–"
    url = reverse(f"admin:ledger_{row._meta.model_name}_change", args=[row.pk])  # noqa: SLF001 - Django's public name
    return format_html('<a href="{}">{}</a>', url, label or str(row))


def entry_link(field: str, title: str) -> Callable[[Any, Any], SafeString | str]:
    """A column that links to the log entry in `field`."""

    @admin.display(description=title, ordering=field)
    def column(_admin: Any, row: Any) -> SafeString | str:
        entry = getattr(row, field)
        return link(entry, None if entry is None else f"#{entry.pk}")

    return column


def each(request: HttpRequest, rows: QuerySet[Any], use_case: Callable[[Any], object], done: str) -> None:
    """Run a use case for each selected row, and say what happened to each."""
    for row in rows:
        try:
            use_case(row)
        except WorkflowError as error:
            messages.error(request, f"{row}: {error.sentence}")
        else:
            messages.success(request, f"{row}: {done}")
