"""Lists as CSV: rows and columns that the page shows, with its filters, search and order, and all of its pages.

Spreadsheets take cells that begin with certain characters for formulas and run them; such cells get an apostrophe
in front (OWASP, "CSV Injection").
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from html import unescape
from typing import Any, Final

from django.contrib.admin.utils import display_for_field, display_for_value, label_for_field, lookup_field
from django.http import HttpRequest, StreamingHttpResponse
from django.utils.html import strip_tags
from django.utils.text import capfirst
from django.utils.translation import get_language, gettext, override

_FORMULAS: Final = ("=", "+", "-", "@", "\t", "\r")
_AT_ONCE: Final = 500  # rows fetched in one go
_NOTHING: Final = "–"


class _Echo:
    """Hands back what the CSV writer writes."""

    def write(self, text: str) -> str:
        return text


def respond(page: Any, request: HttpRequest) -> StreamingHttpResponse:
    """The list `page` (a ModelAdmin) as a file."""
    shown = page.get_changelist_instance(request)
    columns = [name for name in shown.list_display if name != "action_checkbox"]
    heads = [capfirst(str(label_for_field(name, page.model, page))) for name in columns]
    rows = shown.queryset.iterator(chunk_size=_AT_ONCE)
    return StreamingHttpResponse(
        _lines(heads, ([_cell(name, row, page) for name in columns] for row in rows), get_language()),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{page.opts.model_name}.csv"'},
    )


def _lines(heads: list[str], rows: Iterator[list[str]], language: str | None) -> Iterator[str]:
    writer = csv.writer(_Echo())
    yield writer.writerow(heads)
    while True:
        with override(language):  # the file is written when the page's own part is over
            row = next(rows, None)
        if row is None:
            return
        yield writer.writerow([harmless(cell) for cell in row])


def _cell(name: str, row: Any, page: Any) -> str:
    """A column's text, without markup."""
    field, _attribute, value = lookup_field(name, row, page)
    if isinstance(value, bool):
        return gettext("yes") if value else gettext("no")
    if field is None or field.remote_field:
        text = display_for_value(value, _NOTHING)
    else:
        text = display_for_field(value, field, _NOTHING)
    return unescape(strip_tags(str(text))).strip()


def harmless(cell: str) -> str:
    """The cell as text, whatever a spreadsheet makes of its first character; plain numbers stay numbers."""
    return f"'{cell}" if cell.startswith(_FORMULAS) and not _is_number(cell) else cell


def _is_number(text: str) -> bool:
    digits = text.removeprefix("-")
    return digits.isascii() and digits.replace(".", "", 1).isdigit()
