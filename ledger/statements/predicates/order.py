"""order: one client model is told to apply one mask."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from ledger.statements.coverage import FULL, Coverage
from ledger.statements.predicates.base import LogRef, Predicate, Sha256, Time, Uuid


class Order(Predicate):
    """Signed by the provider. `commitment` must stand in the log before `mask`.

    Sampled coverage needs `draw_sha256`: the provider is bound to its part of the draw before there is a claim.
    """

    slug: ClassVar[str] = "order"

    order: Uuid
    window: Uuid
    client: Uuid
    commitment: LogRef
    mask: LogRef
    circuit: LogRef
    coverage: Coverage = FULL
    draw_sha256: Sha256 | None = Field(default=None, description="of the secret that the challenge will disclose")
    due_at: Time
