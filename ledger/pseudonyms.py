"""Keyed hashes of what must be found again but not be told: the same person, the same line of a file.

HMAC-SHA-256 under a random key that is sealed in the vault. A thief of the database has not got it, so guesses at a
person cannot be tried. `renew` puts a new key in the old one's place: then old copies of hashes say nothing any
more, not even to those who have the new key.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import unicodedata
from typing import Any, Final

from ledger import vault
from ledger.models import VaultKey
from ledger.statements import canonical

_NAME: Final = "pseudonyms"
_KEY_BYTES: Final = 32


class Pseudonyms:
    """Hashes under one key. A fresh key is stored by `keep`, once there is something to find again."""

    def __init__(self, key: bytes, *, fresh: bool) -> None:
        self._key, self._fresh = key, fresh

    def keep(self) -> None:
        """Store the key if it is new, in the caller's transaction."""
        if self._fresh:
            record = vault.seal({"key": self._key.hex()})
            VaultKey.objects.update_or_create(name=_NAME, defaults={"record": record})
            self._fresh = False

    def of_subject(self, subject: str) -> str:
        """Hex; equal for spellings that differ only in case, width and white space."""
        plain = " ".join(unicodedata.normalize("NFKC", subject).casefold().split())
        return self._hash("subject", plain)

    def of_content(self, content: dict[str, Any]) -> str:
        """Hex, of what a request says."""
        return self._hash("content", content)

    def _hash(self, purpose: str, value: Any) -> str:
        return hmac.new(self._key, canonical.dumps([purpose, value]), hashlib.sha256).hexdigest()


def current() -> Pseudonyms:
    """Under the key in use, or a fresh one where there is none. Call it under the log's lock."""
    row = VaultKey.objects.select_related("record").filter(name=_NAME).first()
    if row is None:
        return Pseudonyms(os.urandom(_KEY_BYTES), fresh=True)
    return Pseudonyms(bytes.fromhex(vault.unseal(row.record)["key"]), fresh=False)


def renew() -> Pseudonyms | None:
    """Replace the key, in the caller's transaction; None where there is none yet. All hashes are void then."""
    row = VaultKey.objects.select_related("record").filter(name=_NAME).first()
    if row is None:
        return None
    hashes = Pseudonyms(os.urandom(_KEY_BYTES), fresh=True)
    hashes.keep()
    vault.erase(row.record)
    return hashes
