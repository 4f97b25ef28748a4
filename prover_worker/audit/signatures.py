"""Many Ed25519 signatures at once, in this process or in several.

libsodium (through PyNaCl) takes half the time of OpenSSL, which the ledger itself asks. What libsodium refuses is
tried with OpenSSL. What it takes, OpenSSL might refuse only where the equation of RFC 8032, section 5.1.7, holds up
to the cofactor, as that section allows; only who has the secret key can make such a signature. On the published
edge cases, which a test has, both come to the same, but for keys of small order, which are refused before.

Checking begins while the bundle is still being read, when it is not known yet whose signature an entry needs: the
envelope's hint names a key, and whether that key has signed is found out in the background. Once it is known who
must have signed, an entry whose hint named such a key waits for that answer; all others, few, are checked
afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from nacl.bindings import crypto_sign_open
from nacl.exceptions import CryptoError

from ledger.statements.dsse import PAYLOAD_TYPE, Envelope, pae
from ledger.statements.errors import StatementError
from ledger.statements.keys import raw_from_hex, raw_keyid
from prover_worker.audit.helpers import Helpers

#: Log index, payload, signature, and the raw key that the hint names.
Hinted = tuple[int, bytes, bytes, bytes]
#: Of each set of public keys in hex, one must have signed.
Signers = tuple[frozenset[str], ...]

_BATCH: Final = 512


def wrong(batch: Sequence[Hinted]) -> list[int]:
    """The log indices of those that the named key has not signed."""
    return [index for index, payload, sig, key in batch if not _holds(pae(PAYLOAD_TYPE, payload), sig, key)]


class Checker:
    """Takes envelopes as they are read, and says who has not signed what had to be signed."""

    def __init__(self, helpers: Helpers) -> None:
        self._helpers = helpers
        self._raw: dict[str, bytes] = {}  # by hex, of keys that are well-formed
        self._hints: dict[str, str] = {}  # hex by key ID
        self._named: dict[int, str] = {}  # the key in hex that an entry's hint names
        self._batch: list[Hinted] = []
        self._pending: list[Callable[[], list[int]]] = []
        self._wrong: set[int] = set()  # not signed by the key that the hint names
        self._suspects: set[int] = set()  # whose hint is not one of the keys that are needed
        self._needed: dict[int, tuple[Envelope, Signers]] = {}

    def know(self, key: str) -> None:
        """A public key (hex) that hints may name from now on. One that is none is not."""
        try:
            raw = raw_from_hex(key)
        except StatementError:
            return
        self._raw[key], self._hints[raw_keyid(raw)] = raw, key

    def read(self, index: int, envelope: Envelope) -> None:
        """Take entry `index`, to be checked in the background if its hint is good for anything."""
        payload, kind, signatures = envelope
        if len(signatures) != 1 or kind != PAYLOAD_TYPE:
            return
        hint, sig = signatures[0]
        named = self._hints.get(hint)
        if named is None:
            return
        self._named[index] = named
        self._batch.append((index, payload, sig, self._raw[named]))
        if len(self._batch) == _BATCH:
            self._send()

    def need(self, index: int, envelope: Envelope, signers: Signers) -> None:
        """Who must have signed entry `index`. Raises StatementError for a key that is none."""
        named = self._named.get(index)
        self._needed[index] = envelope, signers
        for keys in signers:
            for key in keys:
                if key not in self._raw:
                    self._raw[key] = raw_from_hex(key)
            if named not in keys:
                self._suspects.add(index)

    def first_bad(self) -> int | None:
        """Wait for all; returns the first entry, of those whose signers were named, that lacks a signature."""
        self._send()
        while self._pending:
            self._take()
        suspects = sorted(index for index in self._wrong | self._suspects if index in self._needed)
        return next((index for index in suspects if not self._signed(*self._needed[index])), None)

    def _signed(self, envelope: Envelope, signers: Signers) -> bool:
        signed = pae(envelope.payload_type, envelope.payload)
        return all(
            any(_holds(signed, one.sig, self._raw[key]) for key in sorted(keys) for one in envelope.signatures)
            for keys in signers
        )

    def _send(self) -> None:
        batch, self._batch = self._batch, []
        if not batch:
            return
        self._pending.append(self._helpers.ask(wrong, batch))
        while len(self._pending) > 16 * self._helpers.jobs:  # what waits stays small
            self._take()

    def _take(self) -> None:
        self._wrong.update(self._pending.pop(0)())


def _holds(signed: bytes, signature: bytes, key: bytes) -> bool:
    try:
        crypto_sign_open(signature + signed, key)
    except (CryptoError, ValueError, TypeError):
        return _holds_by_openssl(signed, signature, key)
    return True


def _holds_by_openssl(signed: bytes, signature: bytes, key: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, signed)
    except (InvalidSignature, ValueError):
        return False
    return True
