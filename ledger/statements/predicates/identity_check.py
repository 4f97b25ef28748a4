"""identity-check: how it was checked who asks, and what came of it. Details of the person stay outside the log."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from ledger.statements.predicates.base import Code, Count, LogRef, Predicate, Time, Uuid


class IdentityCheck(Predicate):
    """Signed by the provider. There may be several for a request; the last one counts. `method` is one of
    `ledger.statements.lifecycle.METHODS`.
    """

    slug: ClassVar[str] = "identity-check"

    request: Uuid
    filed: LogRef
    number: Count = Field(ge=1, description="counts the checks of this request")
    method: Code
    result: Literal["verified", "failed"]
    checked_at: Time
