"""claim: Com(θu) and the commitments of the solution, logged before the challenge is drawn."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from ledger.statements.predicates.base import Count, LogRef, Predicate, Sha256, Uuid


class Claim(Predicate):
    """Signed by the client. A new try after a rejection is a new attempt, logged as such."""

    slug: ClassVar[str] = "claim"

    order: LogRef
    client: Uuid
    attempt: Count = Field(gt=0)
    weights_sha256: Sha256
    weights_root: Sha256
    solution_sha256: Sha256 = Field(description="points of f = vĜ and of the digits of v and e, touched chunks")
    solution_root: Sha256
    other_tensors_sha256: Sha256
