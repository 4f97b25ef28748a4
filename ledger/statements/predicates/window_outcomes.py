"""window-outcomes: a part of the list of how a window's orders ended, where certificates do not hold it themselves.

The parts of one list stand in the log one after the other, each naming the one before. Certificates follow right
after the last part and name that one, and so all of them: what the list says, each of them says.
"""

from __future__ import annotations

from typing import ClassVar, Final

from pydantic import Field

from ledger.statements.predicates.base import Count, LogRef, Predicate
from ledger.statements.predicates.certificate import NotOrdered, Outcome

MOST_LINES: Final = 100  # outcomes and clients without an order together, that fit an entry of the log


class WindowOutcomes(Predicate):
    """Signed by the provider."""

    slug: ClassVar[str] = "window-outcomes"

    window: LogRef = Field(description="the window-close")
    mask: LogRef
    number: Count = Field(gt=0, description="of this part: 1, 2, 3, …")
    previous: LogRef | None = Field(default=None, description="the part before this one; null in the first")
    supplements: LogRef | None = Field(
        default=None, description="in the first part: the last part of the window's list before this one"
    )
    outcomes: list[Outcome] = Field(max_length=MOST_LINES)
    not_ordered: list[NotOrdered] = Field(default=[], max_length=MOST_LINES)
