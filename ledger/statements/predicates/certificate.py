"""certificate: what was done about one deletion request, by which client models, and what is not proved."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from ledger.statements.predicates.base import LogRef, Part, Predicate, Time, Uuid


class Outcome(Part):
    """How one order of the window ended. `verdict` is null for a client that never proved anything."""

    order: LogRef
    client: Uuid
    status: Literal["met", "rejected", "unanswered"]
    verdict: LogRef | None = None


class Certificate(Predicate):
    """Signed by the provider when all orders of the request's window are settled."""

    slug: ClassVar[str] = "certificate"

    request: Uuid
    filed: LogRef
    decision: LogRef
    window: LogRef
    mask: LogRef
    outcomes: list[Outcome] = Field(max_length=300)
    coverage: Literal["full"] = "full"
    srs_provenance: Literal["ceremony", "development"]
    proves: list[str] = Field(min_length=1)
    does_not_prove: list[str] = Field(min_length=1)
    issued_at: Time
