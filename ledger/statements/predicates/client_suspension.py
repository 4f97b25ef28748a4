"""client-suspension: a client that does not comply gets no more orders, until that is lifted."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from ledger.statements.predicates.base import Count, Predicate, Time, Uuid


class ClientSuspension(Predicate):
    """Signed by the provider. Suspension and lift follow each other; `number` counts both for this client."""

    slug: ClassVar[str] = "client-suspension"

    client: Uuid
    action: Literal["suspend", "lift"]
    number: Count = Field(gt=0)
    reason: Literal["unanswered", "rejected", "officer", "complied"]
    decided_at: Time
