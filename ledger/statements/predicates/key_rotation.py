"""key-rotation: the log's or the provider's key gives way to a new one.

The envelope carries one signature by each key concerned: the provider's key that is valid at this index first,
then `oldKey` and `newKey` (of role provider, `oldKey` is that first key). So whoever trusts the old key learns
the new one from the old, nobody can rotate to a key that it does not hold, and whoever trusts the new key may
believe it about its predecessor.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from ledger.statements.predicates.base import Predicate, Time

_KEY = r"^[0-9a-f]{64}$"


class KeyRotation(Predicate):
    """From the next entry on (of role log: for every checkpoint that covers this entry) `newKey` signs."""

    slug: ClassVar[str] = "key-rotation"

    role: Literal["provider", "log"]
    old_key: str = Field(pattern=_KEY, description="Ed25519 public key, raw, hex")
    new_key: str = Field(pattern=_KEY, description="Ed25519 public key, raw, hex")
    rotated_at: Time
