"""challenge: which checkpoint fixes the random field elements of a claim. Derived, never chosen."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from ledger.statements.predicates.base import LogRef, Predicate, Time


class Challenge(Predicate):
    """Signed by the provider. `checkpoint` is the signed note, whole: the first one that covers the claim."""

    slug: ClassVar[str] = "challenge"

    claim: LogRef
    checkpoint: str = Field(min_length=1, max_length=10_000)
    claimed_at: Time | None = Field(default=None, description="when the claim came in: late, if after the due date")
    draw_secret: str | None = Field(
        default=None, pattern=r"^[0-9a-f]{64}$", description="32 bytes in hex, where a sample of chunks is drawn"
    )
