"""client-key-revocation: a client's key signs nothing any more; a new client-enrolment may follow."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from ledger.statements.predicates.base import LogRef, Predicate, Time, Uuid


class ClientKeyRevocation(Predicate):
    """Signed by the provider. What the key signed before this entry stays valid."""

    slug: ClassVar[str] = "client-key-revocation"

    client: Uuid
    enrolled: LogRef = Field(description="the client-enrolment whose key is revoked")
    reason: Literal["lost", "stolen", "replaced"]
    revoked_at: Time
