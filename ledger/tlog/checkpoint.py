"""Checkpoints (C2SP tlog-checkpoint v1.0.0): the signed head of a log.

The body of the note is::

    <origin: the log's name, not empty>
    <size: canonical decimal, no leading zero>
    <base64 of the root hash, 32 bytes>
    <extension lines, none or more, not empty>

and the log signs it as a note under a key whose name is its origin.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import Final

from ledger.tlog.errors import CheckpointError, NoteError
from ledger.tlog.merkle import EMPTY_ROOT, HASH_SIZE
from ledger.tlog.note import NoteSigner, NoteVerifier, decode_base64, open_note, sign_note

MAX_SIZE: Final = 2**63 - 1

_DECIMAL: Final = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)


@dataclass(frozen=True)
class Checkpoint:
    """Head of the log `origin`: its first `size` leaves have the Merkle root `root` (32 bytes).

    Raises CheckpointError when made of anything that a checkpoint cannot say.
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.origin or "\n" in self.origin:
            raise CheckpointError(f"a checkpoint's origin is one line, not empty, got {self.origin!r}")
        if not 0 <= self.size <= MAX_SIZE:
            raise CheckpointError(f"a checkpoint's size is between 0 and {MAX_SIZE}, got {self.size}")
        if len(self.root) != HASH_SIZE:
            raise CheckpointError(f"a checkpoint's root has {HASH_SIZE} bytes, got {len(self.root)}")
        if self.size == 0 and self.root != EMPTY_ROOT:
            raise CheckpointError(f"the empty tree has root {EMPTY_ROOT.hex()}, got {self.root.hex()}")
        for line in self.extensions:
            if not line or "\n" in line:
                raise CheckpointError(f"a checkpoint's extension is one line, not empty, got {line!r}")

    def format(self) -> str:
        """Return the note body, with its final newline; inverse of `parse`."""
        lines = [self.origin, str(self.size), base64.b64encode(self.root).decode(), *self.extensions]
        return "".join(f"{line}\n" for line in lines)

    @classmethod
    def parse(cls, body: str) -> Checkpoint:
        """Parse a note body; raises CheckpointError. The signature is `open_checkpoint`'s business."""
        lines = body.split("\n")
        if len(lines) < 4 or lines.pop() != "":
            raise CheckpointError(
                f"a checkpoint has an origin, a size and a root, one line each, got {body[:200]!r}"
            )
        origin, size, encoded, *extensions = lines
        if not _DECIMAL.fullmatch(size):
            raise CheckpointError(f"a checkpoint's size is decimal without leading zeros, got {size[:80]!r}")
        try:
            root = decode_base64("a checkpoint's root", encoded)
        except NoteError as error:
            raise CheckpointError(str(error)) from error
        return cls(origin, int(size), root, tuple(extensions))


def sign_checkpoint(checkpoint: Checkpoint, signer: NoteSigner) -> str:
    """Return the signed note of a checkpoint; inverse of `open_checkpoint`.

    Raises CheckpointError if the signer's name is not the checkpoint's origin.
    """
    if signer.name != checkpoint.origin:
        raise CheckpointError(
            f"a log signs under its own name {checkpoint.origin!r}, got a key with the name {signer.name!r}"
        )
    return sign_note(checkpoint.format(), [signer])


def open_checkpoint(text: str, verifier: NoteVerifier, origin: str) -> Checkpoint:
    """Check the log's signature on a checkpoint and parse it.

    Raises NoteError if `verifier` has not signed the note, CheckpointError if it is no checkpoint of
    `origin`.
    """
    checkpoint = Checkpoint.parse(open_note(text, [verifier]).body)
    if checkpoint.origin != origin:
        raise CheckpointError(f"the checkpoint is of the log {checkpoint.origin!r}, expected {origin!r}")
    return checkpoint
