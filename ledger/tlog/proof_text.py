"""Offline proofs (C2SP ``c2sp.org/tlog-proof@v1``): one leaf's inclusion, in a text file of its own.

::

    c2sp.org/tlog-proof@v1
    extra <base64, not empty: opaque and not authenticated>       (the line may be missing)
    index <decimal, no leading zero>
    <base64 of a hash, from the leaf's sibling upwards>            (0 to 63 lines)
    <empty line>
    <the checkpoint: a signed note, verbatim, with its cosignatures>

Whoever has the leaf, the log's verifier key and the keys of witnesses checks it without the log.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ledger.tlog.checkpoint import MAX_SIZE
from ledger.tlog.cosignature import CosignatureVerifier, Cosigned, open_cosigned
from ledger.tlog.errors import NoteError, ProofError
from ledger.tlog.merkle import HASH_SIZE, verify_inclusion
from ledger.tlog.note import MAX_NOTE_BYTES, NoteVerifier, decode_base64

HEADER: Final = "c2sp.org/tlog-proof@v1"
MAX_HASHES: Final = 63
MAX_EXTRA_BYTES: Final = 65_536

_INDEX: Final = re.compile(r"index (0|[1-9][0-9]{0,18})", re.ASCII)
_MAX_CHARACTERS: Final = MAX_NOTE_BYTES + 2 * MAX_EXTRA_BYTES


@dataclass(frozen=True)
class InclusionText:
    """A parsed proof: nothing of it is checked before `open_proof`.

    `hashes` are 32 bytes each, `note` is the checkpoint's text. Raises ProofError when made of anything that
    the format cannot say.
    """

    index: int
    hashes: tuple[bytes, ...]
    note: str
    extra: bytes | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.index <= MAX_SIZE:
            raise ProofError(f"a leaf's index is between 0 and {MAX_SIZE}, got {self.index}")
        if len(self.hashes) > MAX_HASHES:
            raise ProofError(f"an inclusion proof has at most {MAX_HASHES} hashes, got {len(self.hashes)}")
        for node in self.hashes:
            if len(node) != HASH_SIZE:
                raise ProofError(f"a hash has {HASH_SIZE} bytes, got {len(node)}")
        if self.extra is not None and not 0 < len(self.extra) <= MAX_EXTRA_BYTES:
            raise ProofError(f"extra data has 1 to {MAX_EXTRA_BYTES} bytes, got {len(self.extra)}")

    def format(self) -> str:
        """Return the proof as text; inverse of `parse`."""
        extra = [] if self.extra is None else [f"extra {base64.b64encode(self.extra).decode()}"]
        hashes = [base64.b64encode(node).decode() for node in self.hashes]
        return "\n".join([HEADER, *extra, f"index {self.index}", *hashes, "", self.note])

    @classmethod
    def parse(cls, text: str) -> InclusionText:
        """Parse a proof; raises ProofError."""
        if len(text) > _MAX_CHARACTERS:
            raise ProofError(f"a proof has at most {_MAX_CHARACTERS} characters, got {len(text)}")
        head, empty, note = text.partition("\n\n")
        lines = head.split("\n")
        if not empty or lines.pop(0) != HEADER:
            raise ProofError(f"a proof begins with {HEADER!r} and has an empty line, got {text[:80]!r}")
        extra = None
        if lines and lines[0].startswith("extra "):
            extra = _decode("the extra data", lines.pop(0).removeprefix("extra "))
        found = _INDEX.fullmatch(lines.pop(0)) if lines else None
        if found is None:
            raise ProofError(f"a proof has a line 'index N', decimal without leading zeros, got {head[:200]!r}")
        return cls(int(found[1]), tuple(_decode("a hash of the proof", line) for line in lines), note, extra)


def open_proof(
    text: str, leaf: bytes, log: NoteVerifier, origin: str, witnesses: Sequence[CosignatureVerifier] = ()
) -> Cosigned:
    """Check that the leaf hash `leaf` (32 bytes) is in the log at the proof's index; return its checkpoint.

    Raises ProofError, NoteError or CheckpointError for what does not hold. A quorum of witnesses is checked
    with `Cosigned.expect` on what is returned.
    """
    proof = InclusionText.parse(text)
    cosigned = open_cosigned(proof.note, log, origin, witnesses)
    checkpoint = cosigned.checkpoint
    verify_inclusion(leaf, proof.index, checkpoint.size, proof.hashes, checkpoint.root)
    return cosigned


def _decode(what: str, text: str) -> bytes:
    try:
        return decode_base64(what, text)
    except NoteError as error:
        raise ProofError(str(error)) from error
