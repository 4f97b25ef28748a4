"""client-key-revocation: a client's key signs nothing any more."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from ledger.statements.predicates.base import LogRef, Predicate, Time, Uuid


class ClientKeyRevocation(Predicate):
    """Signed by the provider, or by any valid key of the client, which cannot revoke its last one.

    What the key signed before this entry stays valid. A client whose last key was revoked may enrol again.
    """

    slug: ClassVar[str] = "client-key-revocation"

    client: Uuid
    enrolled: LogRef = Field(description="the enrolment, addition or rotation that brought the key")
    by: Literal["provider", "client"] = "provider"
    reason: Literal["lost", "stolen", "replaced"]
    revoked_at: Time
