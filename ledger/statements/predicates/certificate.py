"""certificate: what was done about one deletion request on one model, by which clients, and what is not proved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final, Literal

from pydantic import Field

from ledger.statements.coverage import FULL, Coverage
from ledger.statements.predicates.base import LogRef, Part, Predicate, Time, Uuid
from ledger.statements.predicates.verdict import Caught

#: Outcomes that count towards the quorum, and those that are left out of it.
MET: frozenset[str] = frozenset({"met", "met-late"})
EXCEPTED = "excepted"
MOST_OUTCOMES: Final = 300  # that fit an entry of the log


class Outcome(Part):
    """How one order of the window ended. `verdict` is null for a client that never proved anything."""

    order: LogRef
    client: Uuid
    status: Literal["met", "met-late", "rejected", "unanswered", "excepted"]
    verdict: LogRef | None = None
    exception: LogRef | None = Field(default=None, description="the officer's order-exception")
    continuity: Literal["nothing-due", "unlinked", "awaited", "shown", "refuted"] | None = Field(
        default=None, description="how the ordered model stands with the zeros of earlier windows"
    )


class NotOrdered(Part):
    """A client that holds the model and got no order: suspended, or committed when the mask was known already."""

    client: Uuid
    reason: Literal["suspended", "committed-after-mask"]
    ref: LogRef = Field(description="its suspension, or its commitment")


class Certificate(Predicate):
    """Signed by the provider when all orders of the window are settled; again, as a supplement, when a client that
    had not answered has complied after all.
    """

    slug: ClassVar[str] = "certificate"

    request: Uuid
    filed: LogRef
    decision: LogRef
    window: LogRef
    mask: LogRef
    outcomes: list[Outcome] = Field(max_length=MOST_OUTCOMES)
    not_ordered: list[NotOrdered] = Field(default=[], max_length=MOST_OUTCOMES)
    outcomes_in: LogRef | None = Field(
        default=None, description="the last window-outcomes, which list all clients if none is named here"
    )
    quorum_percent: int = Field(default=100, ge=1, le=100)
    complete: bool | None = Field(default=None, description="whether the quorum was reached; null: all were met")
    coverage: Coverage = FULL
    detection: str | None = Field(default=None, description="the smallest of the accepted verdicts' figures")
    caught: list[Caught] = Field(default=[], max_length=2, description="the largest of their numbers of chunks")
    supplements: LogRef | None = Field(default=None, description="the certificate that this one brings up to date")
    srs_provenance: Literal["ceremony", "development"]
    proves: list[str] = Field(min_length=1)
    does_not_prove: list[str] = Field(min_length=1)
    issued_at: Time

    @property
    def is_complete(self) -> bool:
        """Whether it says that the window's quorum was reached."""
        return all(one.status in MET for one in self.outcomes) if self.complete is None else self.complete


def quorum_reached(outcomes: Sequence[Outcome], not_ordered: Sequence[NotOrdered], percent: int) -> bool:
    """Whether enough clients have complied: of those ordered and not excepted, the suspended ones included.

    With orders, but none met, it never is: excepting everybody fulfils nothing.
    """
    met = sum(one.status in MET for one in outcomes)
    counted = sum(one.status != EXCEPTED for one in outcomes)
    counted += sum(one.reason == "suspended" for one in not_ordered)
    return 100 * met >= percent * counted and (met > 0 or (not outcomes and not counted))
