"""Filters in the addresses of lists, and their pages. What is not known is refused (422)."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final, TypeVar

from django.db.models import Model, QuerySet
from django.utils.dateparse import parse_datetime
from rest_framework.request import Request

from ledger.workflow.errors import WorkflowError

PAGE: Final = 100
Known = dict[str, tuple[str, Callable[[str, str], Any]]]
Row = TypeVar("Row", bound=Model)


def query(request: Request, rows: QuerySet[Row], known: Known, *others: str) -> QuerySet[Row]:
    """Those rows that pass all filters given: a name is looked up in a column, by the value that is read."""
    for name, value in request.query_params.dict().items():
        if name in known:
            column, read = known[name]
            rows = rows.filter(**{column: read(name, value)})
        elif name not in (*others, "limit"):
            names = ", ".join([*known, *others, "limit"])
            raise WorkflowError("bad-filter", f"got the filter {name!r:.80}, expected some of {names}", 422)
    return rows


def page(
    request: Request, rows: QuerySet[Row], mark: Callable[[Row], object] = lambda row: str(row.pk)
) -> tuple[list[Row], object]:
    """As many rows as asked for, at most PAGE, and the mark of the last one if there are more."""
    limit = min(max(whole("limit", request.query_params.get("limit", str(PAGE))), 1), PAGE)
    found = list(rows[: limit + 1])
    return found[:limit], mark(found[limit - 1]) if len(found) > limit else None


def choice(choices: Sequence[str]) -> Callable[[str, str], str]:
    """One of several words."""

    def read(name: str, value: str) -> str:
        if value not in choices:
            raise WorkflowError("bad-filter", f"{name} is one of {', '.join(choices)}, got {value!r:.80}", 422)
        return value

    return read


def flag(name: str, value: str) -> bool:
    """True or false."""
    return choice(["true", "false"])(name, value) == "true"


def moment(name: str, value: str) -> datetime:
    """A time with its zone."""
    try:
        read = parse_datetime(value)
    except ValueError:
        read = None
    if read is None or read.tzinfo is None:
        raise WorkflowError("bad-filter", f"{name} is a time as 2026-01-31T12:00:00Z, got {value!r:.80}", 422)
    return read


def uuid_of(name: str, value: str) -> uuid.UUID:
    """A UUID."""
    try:
        return uuid.UUID(value)
    except ValueError as error:
        raise WorkflowError("bad-filter", f"{name} is a UUID, got {value!r:.80}", 422) from error


def whole(name: str, value: str) -> int:
    """A number from 0."""
    if not (value.isascii() and value.isdigit() and len(value) <= 15):
        raise WorkflowError("bad-filter", f"{name} is a number, got {value!r:.80}", 422)
    return int(value)


def text(_name: str, value: str) -> str:
    """Any text."""
    return value.replace("\x00", "")
