"""window-close: which approved requests one mask will cover."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from ledger.statements.predicates.base import LogRef, Predicate, Time, Uuid
from ledger.statements.predicates.window_policy import WindowPolicy


class WindowClose(Predicate):
    """Signed by the provider."""

    slug: ClassVar[str] = "window-close"

    window: Uuid
    model: LogRef
    decisions: list[LogRef] = Field(min_length=1, max_length=500)
    closed_at: Time
    policy: WindowPolicy | None = Field(default=None, description="null: the defaults of a WindowPolicy")
