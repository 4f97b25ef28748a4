"""verdict: what the verifier found, chunk by chunk where it failed."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from ledger.statements.coverage import FULL, Coverage
from ledger.statements.predicates.base import Count, LogRef, Part, Predicate, Sha256


class Failure(Part):
    """One failing chunk (or the whole claim, chunk null) and why, in one sentence."""

    chunk: Count | None = None
    reason: str = Field(min_length=1, max_length=300)


class Caught(Part):
    """From so many dishonest chunks on, at least one is caught with this chance."""

    chance: Literal["0.95", "0.99"]
    chunks: Count


class Verdict(Predicate):
    """Signed by the provider; anyone who holds the audit bundle can check it again."""

    slug: ClassVar[str] = "verdict"

    proof: LogRef
    claim: LogRef
    bundle_sha256: Sha256
    result: Literal["accepted", "rejected"]
    failures: list[Failure] = Field(default=[], max_length=200, description="the first 200")
    failed_chunks: Count = 0
    proved_chunks: Count
    untouched_chunks: Count
    touched_chunks: Count | None = Field(default=None, description="chunks that hold a masked weight")
    coverage: Coverage = Field(default=FULL, description="of this attempt: full after a rejection")
    detection: str = Field(description="chance that one dishonest chunk is caught, decimal string in [0, 1]")
    caught: list[Caught] = Field(default=[], max_length=2, description="where coverage is sampled")
    srs_provenance: Literal["ceremony", "development"]
