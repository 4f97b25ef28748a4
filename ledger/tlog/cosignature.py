"""Cosignatures (C2SP tlog-cosignature v1): a witness's word that a checkpoint extends all it saw before.

A cosignature is one more signature line on the checkpoint's note, of type 0x04. Its key ID is
``SHA-256(name ‖ 0x0A ‖ 0x04 ‖ public key)[:4]``, its verifier key ``name+hex(key ID)+base64(0x04 ‖ public
key)``. The signature is 72 bytes, ``u64 time ‖ Ed25519 signature``, time big-endian in seconds since 1970 and
below 2^63. Signed are the bytes::

    cosignature/v1
    time <decimal, no leading zero>
    <the checkpoint: the whole body of the note, extension lines included>

A reader takes the keys it trusts, and skips the lines of all others; a trusted key's bad line spoils the note.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.tlog.checkpoint import Checkpoint, open_checkpoint
from ledger.tlog.errors import NoteError, QuorumError
from ledger.tlog.note import (
    NamedKey,
    NoteVerifier,
    check_name,
    parse_note,
    parse_signatures,
    signature_line,
)

COSIGNATURE_V1: Final = 0x04
MAX_TIME: Final = 2**63 - 1

_TIME_BYTES: Final = 8
_SIGNATURE_BYTES: Final = _TIME_BYTES + 64


def signed_message(body: bytes, time: int) -> bytes:
    """Return what a witness signs over a checkpoint's note body. Raises NoteError for an impossible time."""
    if not 0 <= time <= MAX_TIME:
        raise NoteError(f"a cosignature's time is between 0 and {MAX_TIME} seconds, got {time}")
    return b"cosignature/v1\ntime %d\n" % time + body


class CosignatureVerifier(NamedKey):
    """A witness's public key, under its name."""

    signature_type = COSIGNATURE_V1
    description = "witness's cosignature key"

    def time(self, body: bytes, signature: bytes) -> int:
        """Check a cosignature over a note body; return its time. Raises NoteError if it does not hold."""
        if len(signature) != _SIGNATURE_BYTES:
            raise NoteError(
                f"the cosignature by {self.name} has {len(signature)} bytes: 8 of time and 64 of signature are due"
            )
        time = int.from_bytes(signature[:_TIME_BYTES], "big")
        try:
            self.public_key.verify(signature[_TIME_BYTES:], signed_message(body, time))
        except InvalidSignature as error:
            raise NoteError(f"the cosignature by {self.name} is not valid") from error
        return time

    def check(self, body: bytes, signature: bytes) -> None:
        """Raise NoteError unless `signature` is this witness's over `body` (`ledger.tlog.note.Verifier`)."""
        self.time(body, signature)


@dataclass(frozen=True)
class CosignatureSigner:
    """A witness's private key, under its name. Whether a checkpoint may be cosigned is not decided here."""

    name: str
    private_key: Ed25519PrivateKey

    def __post_init__(self) -> None:
        check_name(self.name)

    @property
    def verifier(self) -> CosignatureVerifier:
        """The key that checks this signer's cosignatures."""
        return CosignatureVerifier(self.name, self.private_key.public_key())

    @property
    def vkey(self) -> str:
        """The verifier key as text."""
        return self.verifier.vkey

    def line(self, body: bytes, time: int) -> str:
        """Return the signature line over a note body at `time` (seconds since 1970), with its newline."""
        signature = self.private_key.sign(signed_message(body, time))
        return signature_line(self.name, self.verifier.key_id, time.to_bytes(_TIME_BYTES, "big") + signature)


@dataclass(frozen=True)
class Cosigned:
    """A checkpoint that the log signed, and the trusted witnesses that cosigned it: vkey → time."""

    checkpoint: Checkpoint
    times: dict[str, int] = field(default_factory=dict)

    def expect(self, quorum: int) -> None:
        """Raise QuorumError unless at least `quorum` of the trusted witnesses cosigned."""
        _expect(self.times, quorum)


@dataclass(frozen=True)
class Quorum:
    """Whose cosignatures a reader counts, and how many of them a checkpoint needs; by default none."""

    witnesses: tuple[CosignatureVerifier, ...] = ()
    needed: int = 0

    @classmethod
    def parse(cls, vkeys: Sequence[str], needed: int | None = None) -> Quorum:
        """From verifier keys; without `needed` all of them must have cosigned.

        Raises NoteError for keys that cannot be used, QuorumError if `needed` is not 1 to their number.
        """
        witnesses = tuple(CosignatureVerifier.parse(vkey) for vkey in vkeys)
        expect_distinct(witnesses)
        needed = len(witnesses) if needed is None else needed
        if not min(1, len(witnesses)) <= needed <= len(witnesses):
            raise QuorumError(f"a quorum of {needed} cannot be had of {len(witnesses)} witnesses")
        return cls(witnesses, needed)

    def check(self, note: str) -> dict[str, int]:
        """Check a checkpoint's cosignatures, not the log's signature; return vkey → time.

        Raises NoteError if the note is malformed or a known witness's cosignature is bad, QuorumError if there
        are too few.
        """
        parsed = parse_note(note)
        times = _times(parsed.body, parsed.signatures, self.witnesses)
        _expect(times, self.needed)
        return times


def open_cosigned(text: str, log: NoteVerifier, origin: str, witnesses: Sequence[CosignatureVerifier]) -> Cosigned:
    """Check the log's signature and the cosignatures of `witnesses` on a checkpoint.

    A witness counts once, with its latest time. Raises NoteError and CheckpointError as `open_checkpoint`
    does, and NoteError for a trusted witness's bad cosignature. How many are enough: `Cosigned.expect`.
    """
    checkpoint = open_checkpoint(text, log, origin)
    note = parse_note(text)
    return Cosigned(checkpoint, _times(note.body, note.signatures, witnesses))


def read_cosignatures(block: str, body: str, witnesses: Sequence[CosignatureVerifier]) -> dict[str, int]:
    """Check bare cosignature lines, as a witness answers them, against a note body; return vkey → time.

    Raises NoteError if a line is malformed, or a trusted witness's cosignature is bad.
    """
    return _times(body, parse_signatures(block), witnesses)


def _expect(times: Mapping[str, int], quorum: int) -> None:
    if len(times) < quorum:
        names = ", ".join(vkey.split("+")[0] for vkey in times) or "nobody"
        raise QuorumError(
            f"the checkpoint is cosigned by {len(times)} trusted witnesses ({names}), expected at least {quorum}"
        )


def expect_distinct(witnesses: Sequence[CosignatureVerifier]) -> None:
    """Raise NoteError if two of `witnesses` could pass for one another.

    The signed text does not hold the witness's name, so one key under two names would count twice.
    """
    keys = {witness.public_key.public_bytes_raw() for witness in witnesses}
    names = {(witness.name, witness.key_id) for witness in witnesses}
    if len(keys) != len(witnesses) or len(names) != len(witnesses):
        raise NoteError("the same witness is listed twice, or two have one key: one word counts once")


def _times(
    body: str, signatures: Sequence[tuple[str, bytes, bytes]], witnesses: Sequence[CosignatureVerifier]
) -> dict[str, int]:
    expect_distinct(witnesses)
    known = {(witness.name, witness.key_id): witness for witness in witnesses}
    times: dict[str, int] = {}
    for name, identifier, signature in signatures:
        witness = known.get((name, identifier))
        if witness is not None:
            time = witness.time(body.encode(), signature)
            times[witness.vkey] = max(time, times.get(witness.vkey, 0))
    return times
