"""request-hold: a legal hold on a request is set or lifted. A held request waits."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from ledger.statements.predicates.base import Code, Count, LogRef, Predicate, Time, Uuid


class RequestHold(Predicate):
    """Signed by the provider. Setting and lifting alternate. `reason` is one of
    `ledger.statements.lifecycle.HOLD` or LIFT.
    """

    slug: ClassVar[str] = "request-hold"

    request: Uuid
    filed: LogRef
    number: Count = Field(ge=1, description="counts what was said about holds of this request")
    action: Literal["set", "lifted"]
    reason: Code
    at: Time
