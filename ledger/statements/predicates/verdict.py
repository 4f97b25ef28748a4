"""verdict: what the verifier found, chunk by chunk where it failed."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from ledger.statements.predicates.base import Count, LogRef, Part, Predicate, Sha256


class Failure(Part):
    """One failing chunk (or the whole claim, chunk null) and why, in one sentence."""

    chunk: Count | None = None
    reason: str = Field(min_length=1, max_length=300)


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
    coverage: Literal["full"] = "full"
    detection: str = Field(description="chance that one dishonest chunk is caught, decimal string in [0, 1]")
    srs_provenance: Literal["ceremony", "development"]
