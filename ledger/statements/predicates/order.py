"""order: one client model is told to apply one mask."""

from __future__ import annotations

from typing import ClassVar, Literal

from ledger.statements.predicates.base import LogRef, Predicate, Time, Uuid


class Order(Predicate):
    """Signed by the provider. `commitment` must stand in the log before `mask`."""

    slug: ClassVar[str] = "order"

    order: Uuid
    window: Uuid
    client: Uuid
    commitment: LogRef
    mask: LogRef
    circuit: LogRef
    coverage: Literal["full"] = "full"
    due_at: Time
