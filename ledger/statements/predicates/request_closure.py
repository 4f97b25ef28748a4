"""request-closure: a request ended without a decision, or before its window closed."""

from __future__ import annotations

from typing import ClassVar, Literal

from ledger.statements.predicates.base import Code, LogRef, Predicate, Time, Uuid


class RequestClosure(Predicate):
    """Signed by the provider. `revoked`: the person withdrew it; `expired`: nobody could be identified in time.
    `reason` is one of `ledger.statements.lifecycle.REVOCATION` or EXPIRY.
    """

    slug: ClassVar[str] = "request-closure"

    request: Uuid
    filed: LogRef
    state: Literal["expired", "revoked"]
    reason: Code
    closed_at: Time
