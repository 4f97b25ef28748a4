"""window-requests: a part of the approved requests that a window takes in, where its window-close has no room.

The parts of one list stand in the log one after the other, each naming the one before; the window-close that
follows right after the last names that one, and so all of them.
"""

from __future__ import annotations

from typing import ClassVar, Final

from pydantic import Field

from ledger.statements.predicates.base import Count, LogRef, Predicate, Uuid

MOST_DECISIONS: Final = 500  # that fit an entry of the log


class WindowRequests(Predicate):
    """Signed by the provider."""

    slug: ClassVar[str] = "window-requests"

    window: Uuid
    model: LogRef
    number: Count = Field(gt=0, description="of this part: 1, 2, 3, …")
    previous: LogRef | None = Field(default=None, description="the part before this one; null in the first")
    decisions: list[LogRef] = Field(min_length=1, max_length=MOST_DECISIONS)
