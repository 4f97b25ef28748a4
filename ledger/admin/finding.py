"""Lists of a hundred thousand rows: their last pages come as fast as the first, and UUIDs are looked up.

Django pages with OFFSET, so the last page reads all rows, and it looks for a UUID as for a piece of its text, in
all rows. Officers paste a UUID, or the eight characters of it that lists show: both are a range of the index.
"""

from __future__ import annotations

import re
import uuid
from typing import Any, Final

from django.core.paginator import Page, Paginator
from django.db.models import Model, QuerySet, UUIDField
from django.db.models.constants import LOOKUP_SEP

_SHORTEST: Final = 4  # digits of a UUID that are looked for; fewer are found everywhere


class BothEnds(Paginator):
    """Reads rows of the second half from the end. Pages of that half are lists."""

    def page(self, number: Any) -> Any:
        """As Django's."""
        number = self.validate_number(number)
        first = (number - 1) * self.per_page
        last = min(first + self.per_page, self.count)
        rows: Any = self.object_list
        if first < self.count / 2 or not isinstance(rows, QuerySet) or not rows.ordered:
            return super().page(number)
        turned = rows.reverse()[self.count - last : self.count - first]
        return Page(list(turned)[::-1], number, self)


def uuids(term: str) -> tuple[uuid.UUID, uuid.UUID] | None:
    """The first and the last UUID that begin with `term`, None if none can."""
    digits = term.strip().lower().replace("-", "")
    if not _SHORTEST <= len(digits) <= 32 or not re.fullmatch("[0-9a-f]+", digits):
        return None
    return uuid.UUID(digits.ljust(32, "0")), uuid.UUID(digits.ljust(32, "f"))


def search(
    table: type[Model], rows: QuerySet[Any], names: list[str], term: str
) -> tuple[QuerySet[Any], list[str], bool]:
    """Rows whose UUIDs in `names` begin with `term`; the other names; whether `term` is a whole UUID.

    Each name is looked for by itself, so that its index serves, and no row comes twice: with names joined by OR,
    one of them of another table, PostgreSQL reads all rows.
    """
    ours = [name for name in names if _is_uuid(table, name)]
    others = [name for name in names if name not in ours]
    bounds = uuids(term)
    if bounds is None or not ours:
        return rows.none(), others, False
    keys = table._default_manager.order_by()  # noqa: SLF001 - Django's public name
    hits = [keys.filter(**{f"{name}__range": bounds}).values("pk") for name in map(_bare, ours)]
    found = hits[0].union(*hits[1:]) if len(hits) > 1 else hits[0]
    return rows.filter(pk__in=found), others, bounds[0] == bounds[1]


def _bare(name: str) -> str:
    return name.lstrip("=").removesuffix("__exact")


def _is_uuid(table: type[Model], name: str) -> bool:
    """Whether a search field, relations included, ends at a UUID."""
    field: Any = None
    for part in _bare(name).split(LOOKUP_SEP):
        field = table._meta.get_field(part)  # noqa: SLF001 - Django's public name
        table = field.related_model or table
    return isinstance(field, UUIDField)
