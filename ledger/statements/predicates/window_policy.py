"""What a window promises: part of its window-close, so that everybody sees by which rules it is judged."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ledger.statements.coverage import FULL, Coverage
from ledger.statements.predicates.base import Part

Days = Annotated[int, Field(ge=0, le=365, strict=True)]
SomeDays = Annotated[int, Field(ge=1, le=365, strict=True)]


class WindowPolicy(Part):
    """Counted in days of 24 hours from an order's due date. The defaults ask every client for everything."""

    coverage: Coverage = FULL
    quorum_percent: int = Field(
        default=100, ge=1, le=100, strict=True, description="share of the ordered clients that must have met"
    )
    order_days: SomeDays | None = Field(
        default=None, description="orders are due so long after the mask, never after a request is; null: with it"
    )
    remind_days_before: list[SomeDays] = Field(default=[], max_length=10)
    remind_days_after: list[SomeDays] = Field(default=[], max_length=10)
    escalate_days_after: Days | None = Field(default=None, description="officers are told of a silent client")
    suspend_days_after: Days | None = Field(default=None, description="a silent client gets no more orders")
