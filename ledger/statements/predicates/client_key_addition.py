"""client-key-addition: a client has one more key. Signed by one of its valid keys, and by the new one."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from ledger.statements.predicates.base import Predicate, Time, Uuid


class ClientKeyAddition(Predicate):
    """From the next entry on `publicKey` signs for the client, beside the keys that it has.

    The envelope carries two signatures: by a key that is valid at this index, and by the new one.
    """

    slug: ClassVar[str] = "client-key-addition"

    client: Uuid
    public_key: str = Field(pattern=r"^[0-9a-f]{64}$", description="Ed25519 public key, raw, hex")
    added_at: Time
