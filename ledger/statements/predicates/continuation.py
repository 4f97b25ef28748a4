"""continuation-challenge, -proof and -verdict: a later version of a model is shown to keep its zeros."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from ledger.statements.predicates.base import Count, LogRef, Predicate, Sha256, Uuid
from ledger.statements.predicates.verdict import Failure


class ContinuationChallenge(Predicate):
    """Signed by the provider. `checkpoint` is the signed note, whole: the first one that covers the commitment."""

    slug: ClassVar[str] = "continuation-challenge"

    commitment: LogRef
    checkpoint: str = Field(min_length=1, max_length=10_000)


class ContinuationProof(Predicate):
    """Signed by the client: it has uploaded the proofs that a commitment continues its model."""

    slug: ClassVar[str] = "continuation-proof"

    commitment: LogRef
    challenge: LogRef
    client: Uuid
    bundle_sha256: Sha256


class ContinuationVerdict(Predicate):
    """Signed by the provider. `masks`: those that the client's accepted claims on the model have applied before."""

    slug: ClassVar[str] = "continuation-verdict"

    proof: LogRef
    commitment: LogRef
    bundle_sha256: Sha256
    masks: list[LogRef] = Field(min_length=1, max_length=300)
    result: Literal["accepted", "rejected"]
    failures: list[Failure] = Field(default=[], max_length=200, description="the first 200")
    failed_chunks: Count = 0
    proved_chunks: Count
    srs_provenance: Literal["ceremony", "development"]
