"""Filters in the address of GET /requests. All that are given must hold; what is not known is refused (422).

| name | value |
|---|---|
| state, regulation | one of theirs |
| held, verified | true, false |
| dueBefore | a time with zone |
| dataset | a data set's name |
| model, window | a UUID; of a model: requests about its data set |
| after, limit | the `next` of the page before; at most 100 |
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from django.db.models import QuerySet
from django.utils.dateparse import parse_datetime
from rest_framework.request import Request

from ledger.models import DeletionRequest, GlobalModel
from ledger.models.requests import Regulation
from ledger.workflow.errors import WorkflowError
from ledger.workflow.step import get_or_refuse

PAGE: Final = 100


def filtered(request: Request) -> QuerySet[DeletionRequest]:
    """The requests that pass."""
    rows = DeletionRequest.objects.all()
    for name, value in request.query_params.dict().items():
        if name not in _FILTERS and name != "limit":
            known = ", ".join([*_FILTERS, "limit"])
            raise WorkflowError("bad-filter", f"got the filter {name!r:.80}, expected some of {known}", 422)
        if name in _FILTERS:
            column, read = _FILTERS[name]
            rows = rows.filter(**{column: read(name, value)})
    return rows


def limit(request: Request) -> int:
    """How many to show."""
    return min(max(_whole("limit", request.query_params.get("limit", str(PAGE))), 1), PAGE)


def flag(request: Request, name: str) -> bool | None:
    """A parameter that is true or false, None if it is not given."""
    value = request.query_params.get(name)
    return None if value is None else _flag(name, value)


def _one_of(choices: list[str]) -> Callable[[str, str], str]:
    def read(name: str, value: str) -> str:
        if value not in choices:
            raise WorkflowError("bad-filter", f"{name} is one of {', '.join(choices)}, got {value!r:.80}", 422)
        return value

    return read


def _flag(name: str, value: str) -> bool:
    return _one_of(["true", "false"])(name, value) == "true"


def _moment(name: str, value: str) -> datetime:
    try:
        moment = parse_datetime(value)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise WorkflowError("bad-filter", f"{name} is a time as 2026-01-31T12:00:00Z, got {value!r:.80}", 422)
    return moment


def _uuid(name: str, value: str) -> uuid.UUID:
    try:
        return uuid.UUID(value)
    except ValueError as error:
        raise WorkflowError("bad-filter", f"{name} is a UUID, got {value!r:.80}", 422) from error


def _whole(name: str, value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) <= 15):
        raise WorkflowError("bad-filter", f"{name} is a number, got {value!r:.80}", 422)
    return int(value)


def _text(_name: str, value: str) -> str:
    return value.replace("\x00", "")


def _dataset_of(_name: str, value: str) -> str:
    return get_or_refuse(GlobalModel.objects.all(), "model", uuid=value).dataset


_FILTERS: Final[dict[str, tuple[str, Callable[[str, str], Any]]]] = {
    "state": ("state", _one_of(DeletionRequest.State.values)),
    "regulation": ("regulation", _one_of(Regulation.values)),
    "held": ("held", _flag),
    "verified": ("verified", _flag),
    "dueBefore": ("due_at__lt", _moment),
    "dataset": ("dataset", _text),
    "model": ("dataset", _dataset_of),
    "window": ("window", _uuid),
    "after": ("filed_entry__gt", _whole),
}
