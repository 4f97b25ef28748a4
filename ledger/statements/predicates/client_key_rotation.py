"""client-key-rotation: one of a client's keys gives way to a new one, without an officer."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from ledger.statements.predicates.base import LogRef, Predicate, Time, Uuid


class ClientKeyRotation(Predicate):
    """From the next entry on `publicKey` signs, and the key that `replaces` brought signs nothing any more.

    The envelope carries two signatures: by the key that goes, and by the one that comes.
    """

    slug: ClassVar[str] = "client-key-rotation"

    client: Uuid
    replaces: LogRef = Field(description="the enrolment, addition or rotation that brought the key that goes")
    public_key: str = Field(pattern=r"^[0-9a-f]{64}$", description="Ed25519 public key, raw, hex")
    rotated_at: Time
