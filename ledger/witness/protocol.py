"""The body of ``POST <prefix>/add-checkpoint`` (C2SP tlog-witness).

::

    old <size of the checkpoint that the witness cosigned last: decimal, no leading zero>
    <base64 of a hash of the consistency proof (RFC 6962 section 2.1.2)>     (0 to 63 lines)
    <empty line>
    <the new checkpoint: a signed note>

| status | meaning | body |
|---|---|---|
| 200 | cosigned and persisted | one or more cosignature lines |
| 400 | malformed, or old is above the checkpoint's size | a sentence |
| 403 | no valid signature by a key known for the origin | a sentence |
| 404 | unknown origin | a sentence |
| 409 | old is not the size cosigned last, or another root at that size | that size, text/x.tlog.size |
| 422 | the consistency proof does not hold | a sentence |
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ledger.tlog.checkpoint import MAX_SIZE
from ledger.tlog.errors import NoteError
from ledger.tlog.merkle import HASH_SIZE
from ledger.tlog.note import decode_base64
from ledger.witness.errors import RequestError

PATH: Final = "/add-checkpoint"
MAX_PROOF: Final = 63
MAX_REQUEST_BYTES: Final = 65_536
MAX_ANSWER_BYTES: Final = 65_536
SIZE_TYPE: Final = "text/x.tlog.size"
TEXT_TYPE: Final = "text/plain; charset=utf-8"

_DECIMAL: Final = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)


@dataclass(frozen=True)
class AddCheckpoint:
    """A request: the size that the witness should have, hashes of 32 bytes, the new checkpoint's note."""

    old_size: int
    proof: tuple[bytes, ...]
    note: str

    def format(self) -> bytes:
        """Return the request's body; inverse of `parse`."""
        hashes = [base64.b64encode(node).decode() for node in self.proof]
        return "\n".join([f"old {self.old_size}", *hashes, "", self.note]).encode()

    @classmethod
    def parse(cls, body: bytes) -> AddCheckpoint:
        """Parse a request's body; raises RequestError. The note is taken as it is."""
        if len(body) > MAX_REQUEST_BYTES:
            raise RequestError(f"a request has at most {MAX_REQUEST_BYTES} bytes, got {len(body)}")
        try:
            head, empty, note = body.decode().partition("\n\n")
        except UnicodeDecodeError as error:
            raise RequestError("a request is UTF-8 text, this one is not") from error
        old, *hashes = head.split("\n")
        if not empty or not old.startswith("old "):
            raise RequestError(f"a request begins with 'old N' and has an empty line, got {head[:80]!r}")
        if len(hashes) > MAX_PROOF:
            raise RequestError(f"a request has at most {MAX_PROOF} lines of proof, got {len(hashes)}")
        return cls(parse_size(old.removeprefix("old ")), _hashes(hashes), note)


def parse_size(text: str) -> int:
    """Parse a tree size: canonical decimal below 2^63. Raises RequestError."""
    if not _DECIMAL.fullmatch(text) or int(text) > MAX_SIZE:
        raise RequestError(f"a tree size is decimal without leading zeros and below 2^63, got {text[:80]!r}")
    return int(text)


def _hashes(lines: Sequence[str]) -> tuple[bytes, ...]:
    try:
        hashes = tuple(decode_base64("a hash of the proof", line) for line in lines)
    except NoteError as error:
        raise RequestError(str(error)) from error
    for node in hashes:
        if len(node) != HASH_SIZE:
            raise RequestError(f"a hash of the proof has {HASH_SIZE} bytes, got {len(node)}")
    return hashes
