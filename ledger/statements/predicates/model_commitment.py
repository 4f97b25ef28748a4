"""model-commitment: Com(θp) and Com(Cp), logged before any mask that they will be held to."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from ledger.statements.predicates.base import Count, LogRef, Predicate, Sha256, Uuid


class ModelCommitment(Predicate):
    """Signed by the client. Point files are kept under their SHA-256; roots are over their records."""

    slug: ClassVar[str] = "model-commitment"

    client: Uuid
    model: LogRef
    circuit: LogRef
    chunks: Count = Field(gt=0)
    weights_sha256: Sha256
    weights_root: Sha256
    curvature_sha256: Sha256
    curvature_root: Sha256
    other_tensors_sha256: Sha256 = Field(description="over the salted digests of all non-target tensors")
    continues: LogRef | None = Field(
        default=None, description="the client's last commitment on this model, whose zeros this one says to keep"
    )
