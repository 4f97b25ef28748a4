"""Which entries of the log a predicate refers to: every LogRef in it, found by the types of its fields."""

from __future__ import annotations

from functools import cache
from typing import Any, get_args

from pydantic import BaseModel

from ledger.statements.predicates.base import LogRef


def references(value: BaseModel) -> list[LogRef]:
    """Every LogRef in a predicate, at any depth."""
    found: list[LogRef] = []
    _collect(value, found)
    return found


def _collect(value: BaseModel, found: list[LogRef]) -> None:
    members = value.__dict__
    _collect_items([members[name] for name in _with_parts(type(value))], found)


def _collect_items(items: list[Any], found: list[LogRef]) -> None:
    for item in items:
        if type(item) is LogRef:
            found.append(item)
        elif type(item) is list:
            _collect_items(item, found)
        elif isinstance(item, BaseModel):
            _collect(item, found)


@cache
def _with_parts(kind: type[BaseModel]) -> tuple[str, ...]:
    """The fields that can hold a LogRef, or what can hold one."""
    return tuple(name for name, field in kind.model_fields.items() if _may_hold(field.annotation))


def _may_hold(annotation: Any) -> bool:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return True
    return any(_may_hold(part) for part in get_args(annotation))
