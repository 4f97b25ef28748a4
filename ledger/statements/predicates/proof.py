"""proof: the client has uploaded the proof bundle of a claim."""

from __future__ import annotations

from typing import ClassVar

from ledger.statements.predicates.base import LogRef, Predicate, Sha256, Uuid


class Proof(Predicate):
    """Signed by the client."""

    slug: ClassVar[str] = "proof"

    claim: LogRef
    challenge: LogRef
    client: Uuid
    bundle_sha256: Sha256
