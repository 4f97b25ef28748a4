"""order-objection: a client tells the provider why it does not obey an order."""

from __future__ import annotations

from typing import ClassVar, Literal

from ledger.statements.predicates.base import LogRef, Predicate, Time, Uuid


class OrderObjection(Predicate):
    """Signed by the client, of its own will and once for an order; the order stands. Reasons are codes."""

    slug: ClassVar[str] = "order-objection"

    order: LogRef
    client: Uuid
    reason: Literal["damage", "cannot-verify", "model-not-in-use", "unable", "other"]
    objected_at: Time
