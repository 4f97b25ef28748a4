"""request-extension: a request gets more time, as far as its regulation allows."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from ledger.statements.predicates.base import Code, LogRef, Predicate, Time, Uuid


class RequestExtension(Predicate):
    """Signed by the provider. Once per request, inside its first period; `dueAt` follows from its terms.
    `reason` is one of `ledger.statements.lifecycle.EXTENSION`.
    """

    slug: ClassVar[str] = "request-extension"

    request: Uuid
    filed: LogRef
    reason: Code
    notified_at: Time | None = Field(default=None, description="when the person was told")
    extended_at: Time
    due_at: Time
