"""order-exception: an officer releases a client from an order; certificates list it as excepted."""

from __future__ import annotations

from typing import ClassVar, Literal

from ledger.statements.predicates.base import LogRef, Predicate, Time, Uuid


class OrderException(Predicate):
    """Signed by the provider. Once for an order, and not for one that was met. Reasons are codes, as everywhere."""

    slug: ClassVar[str] = "order-exception"

    order: LogRef
    client: Uuid
    reason: Literal["model-not-in-use", "client-gone", "client-unable", "legal-reason", "provider-fault", "other"]
    excepted_at: Time
