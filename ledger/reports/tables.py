"""A report as tables for spreadsheets: one CSV file for each, in a ZIP archive that is the same each time.

RFC 4180 with a header line, UTF-8 behind a byte order mark, without which spreadsheets take it for another
encoding. A text that a spreadsheet would run as a formula gets an apostrophe in front, which makes it text.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterable, Sequence
from typing import Any, Final

from ledger.reports.schema import Certificate, Event, Metrics, Order, Report, Request, Window
from ledger.statements.predicates.base import Part

#: What starts a formula in a spreadsheet (OWASP, "CSV injection"), full-width forms included.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)  # the earliest that ZIP can say


def archive(report: Report) -> bytes:
    """The tables of `report`; equal reports give equal bytes."""
    tables: list[tuple[str, type[Part], Sequence[Part]]] = [
        ("metrics", Metrics, report.metrics),
        ("requests", Request, report.requests),
        ("windows", Window, report.windows),
        ("orders", Order, report.orders),
        ("certificates", Certificate, report.certificates),
        ("timeline", Event, report.timeline),
    ]
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as folder:
        for name, kind, rows in tables:
            if rows:
                folder.writestr(zipfile.ZipInfo(f"{name}.csv", _EPOCH), table(kind, rows), zipfile.ZIP_DEFLATED)
        folder.writestr(zipfile.ZipInfo("report.txt", _EPOCH), _cover(report), zipfile.ZIP_DEFLATED)
    return made.getvalue()


def table(kind: type[Part], rows: Iterable[Part]) -> bytes:
    """Rows of one kind as CSV; columns are the fields, in the order in which the class has them."""
    columns = [name for name in kind.model_fields if name != "subject" or any(_subjects(rows))]
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    for row in rows:
        values = row.model_dump(mode="json")
        writer.writerow([cell(values[column]) for column in columns])
    return text.getvalue().encode("utf-8-sig")


def cell(value: Any) -> str | int | float:
    """One value as a spreadsheet may safely hold it; numbers stay numbers, lists are joined."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case int() | float():
            return value
        case dict():
            return cell("; ".join(f"{key}: {number}" for key, number in value.items()))
        case list():
            return cell(" ".join(map(str, value)))
    text = str(value).replace("\x00", "")
    return f"'{text}" if text.startswith(_FORMULA) else text


def _subjects(rows: Iterable[Part]) -> Iterable[bool]:
    return (getattr(row, "subject", None) is not None for row in rows)


def _cover(report: Report) -> str:
    return (
        f"Report {report.report}, made {report.made_at:%Y-%m-%dT%H:%M:%SZ}\n"
        f"Log {report.log.origin}, {report.log.size} entries, root {report.log.root}\n"
        f"Personal data: {'yes' if report.personal_data else 'no'}\n"
    )
