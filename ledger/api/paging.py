"""Lists: {"items": [...], "next": address or null}, filtered by what the address says.

A page ends where its last row stands in the order, and `next` carries that place, so rows that come or go while
somebody reads neither repeat nor vanish. The order ends in a unique column.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable
from typing import Any, ClassVar, Final, TypeVar

from django.core.exceptions import ValidationError as BadValue
from django.db import models
from django.db.models import Q, QuerySet
from pydantic import Field
from rest_framework.request import Request
from rest_framework.response import Response

from ledger.access import scope
from ledger.api.inputs import Body, Input, checked
from ledger.workflow.errors import WorkflowError

PAGE: Final = 50
MAX_PAGE: Final = 200
NO_NUL: Final = r"^[^\x00]*$"  # the only character that PostgreSQL's text cannot hold

Row = TypeVar("Row", bound=models.Model)
Filters = TypeVar("Filters", bound="Query")


class Query(Input):
    """Base of what a list's address may say. A field filters by the lookup in `lookups`, or by its own name."""

    lookups: ClassVar[dict[str, str]] = {}

    limit: int = Field(PAGE, ge=1, le=MAX_PAGE, description="items on a page")
    cursor: str = Field("", max_length=1000, description="from `next` of the page before")

    def narrow(self, rows: QuerySet[Row]) -> QuerySet[Row]:
        """The rows that pass."""
        for name in type(self).model_fields:
            value = getattr(self, name)
            if value is not None and name not in ("limit", "cursor"):
                rows = rows.filter(**{self.lookups.get(name, name): value})
        return rows


def query(request: Request, kind: type[Body], code: str = "bad-filter") -> Body:
    """What the address says after its question mark; 422 for anything unknown or given twice."""
    given = dict(request.query_params.lists())
    twice = [name for name, values in given.items() if len(values) > 1]
    if twice:
        raise WorkflowError(code, f"{twice[0]} is given {len(given[twice[0]])} times, expected once", 422)
    return checked({name: values[0] for name, values in given.items()}, kind, code)


def page(
    request: Request,
    rows: QuerySet[Row],
    kind: type[Filters],
    item: Callable[[Row], Any],
    order: tuple[str, ...],
) -> Response:
    """One page of `rows` in `order` (field names, "-" descending; the last one unique)."""
    asked = query(request, kind)
    rows = asked.narrow(scope.visible(request.user, rows)).order_by(*order)
    if asked.cursor:
        rows = rows.filter(_after(rows.model, order, _decode(asked.cursor, len(order))))
    found = list(rows[: asked.limit + 1])
    more = len(found) > asked.limit
    found = found[: asked.limit]
    return Response(
        {"items": [item(row) for row in found], "next": _next(request, found[-1], order) if more else None}
    )


def _next(request: Request, row: models.Model, order: tuple[str, ...]) -> str:
    values = [str(row.serializable_value(name.lstrip("-"))) for name in order]
    text = base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")
    params = request.query_params.copy()
    params["cursor"] = text
    return request.build_absolute_uri(f"{request.path}?{params.urlencode()}")


def _decode(cursor: str, length: int) -> list[str]:
    try:
        values = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError) as error:
        raise _bad_cursor() from error
    if not isinstance(values, list) or len(values) != length or not all(isinstance(each, str) for each in values):
        raise _bad_cursor()
    return values


def _after(model: type[models.Model], order: tuple[str, ...], values: list[str]) -> Q:
    """Rows beyond `values`: a > x, or a = x and b > y, ..."""
    beyond, equal = Q(), Q()
    for name, text in zip(order, values, strict=True):
        column = name.lstrip("-")
        try:
            field = model._meta.get_field(column)  # noqa: SLF001 - Django's public name
            assert isinstance(field, models.Field)
            value = (
                field.target_field.to_python(text)
                if isinstance(field, models.ForeignKey)
                else field.to_python(text)
            )
        except BadValue as error:
            raise _bad_cursor() from error
        if "\0" in text:
            raise _bad_cursor()
        beyond |= equal & Q(**{f"{column}__{'lt' if name.startswith('-') else 'gt'}": value})
        equal &= Q(**{column: value})
    return beyond


def _bad_cursor() -> WorkflowError:
    return WorkflowError(
        "bad-cursor", "this cursor is none of ours: take it from `next`, or begin without one", 422
    )
