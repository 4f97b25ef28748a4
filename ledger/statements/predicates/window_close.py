"""window-close: which approved requests one mask will cover."""

from __future__ import annotations

from typing import ClassVar, Final

from pydantic import Field

from ledger.statements.predicates.base import LogRef, Predicate, Time, Uuid
from ledger.statements.predicates.window_policy import WindowPolicy

MOST_DECISIONS: Final = 500  # that fit an entry of the log


class WindowClose(Predicate):
    """Signed by the provider."""

    slug: ClassVar[str] = "window-close"

    window: Uuid
    model: LogRef
    decisions: list[LogRef] = Field(min_length=1, max_length=MOST_DECISIONS)
    closed_at: Time
    policy: WindowPolicy | None = Field(default=None, description="null: the defaults of a WindowPolicy")
