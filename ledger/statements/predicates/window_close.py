"""window-close: which approved requests one mask will cover."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from ledger.statements.predicates.base import LogRef, Predicate, Time, Uuid
from ledger.statements.predicates.window_policy import WindowPolicy
from ledger.statements.predicates.window_requests import MOST_DECISIONS


class WindowClose(Predicate):
    """Signed by the provider."""

    slug: ClassVar[str] = "window-close"

    window: Uuid
    model: LogRef
    decisions: list[LogRef] = Field(max_length=MOST_DECISIONS)
    requests_in: LogRef | None = Field(
        default=None, description="the last window-requests, which list the decisions if there are none here"
    )
    closed_at: Time
    policy: WindowPolicy | None = Field(default=None, description="null: the defaults of a WindowPolicy")
