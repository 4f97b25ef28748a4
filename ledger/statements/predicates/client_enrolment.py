"""client-enrolment: a client registers its Ed25519 key. Signed by that very key: proof of possession."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from ledger.statements.predicates.base import Predicate, Uuid


class ClientEnrolment(Predicate):
    """Signed by the client. The client is a handle; its name stays out of the log."""

    slug: ClassVar[str] = "client-enrolment"

    client: Uuid
    public_key: str = Field(pattern=r"^[0-9a-f]{64}$", description="Ed25519 public key, raw, hex")
