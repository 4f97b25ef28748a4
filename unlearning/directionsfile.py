r"""The file of forget directions, canonical and content-addressed like the mask's. Needs numpy, not torch.

b"unlearning-directions/v1\n"
32 bytes         SHA-256 of the mask file that the directions belong to
u32 big-endian   block size B, directions per block q, softness d_u
u64 big-endian   n, how many blocks have directions: those with a masked weight, in order
n x q x B int8   rows, zero on masked weights
n x q i64 big-endian   push, at least 0
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from unlearning.errors import MaskError

MAGIC: Final = b"unlearning-directions/v1\n"
_HEAD: Final = struct.Struct(">32sIIIQ")


@dataclass(frozen=True)
class DirectionsFile:
    """Of n blocks: their numbers (n,) ascending, rows (n, q, B) int8, push (n, q) int64; and the softness."""

    blocks: NDArray[np.int64]
    rows: NDArray[np.int8]
    push: NDArray[np.int64]
    softness: int

    @property
    def count(self) -> int:
        """q, directions per block."""
        return self.rows.shape[1]


def format(made: DirectionsFile, mask_file: bytes) -> bytes:  # noqa: A001 - the inverse of parse
    """Inverse of `parse`, which checks what it is given."""
    n, q, size = made.rows.shape
    head = _HEAD.pack(hashlib.sha256(mask_file).digest(), size, q, made.softness, n)
    return MAGIC + head + made.rows.tobytes() + made.push.astype(">i8").tobytes()


def parse(data: bytes, mask: NDArray[np.bool_], mask_file: bytes) -> DirectionsFile:
    """Read the file that belongs to a mask (nb, B) and its file. Raises MaskError for any other byte string."""
    start = len(MAGIC) + _HEAD.size
    if not data.startswith(MAGIC) or len(data) < start:
        raise MaskError(f"got {len(data)} bytes that begin {data[:30]!r}, expected a file that begins {MAGIC!r}")
    digest, size, q, softness, count = _HEAD.unpack(data[len(MAGIC) : start])
    if digest != hashlib.sha256(mask_file).digest():
        raise MaskError(f"the directions are for the mask {digest.hex()}, which is another one than given")
    blocks = np.flatnonzero(mask.any(axis=1)).astype(np.int64)
    if size != mask.shape[1] or count != len(blocks) or softness < 1:
        raise MaskError(
            f"got directions of {count} blocks of {size} with softness {softness}, expected "
            f"{len(blocks)} of {mask.shape[1]}, and at least 1"
        )
    wanted = start + count * q * (size + 8)
    if len(data) != wanted:
        raise MaskError(f"the directions file has {len(data)} bytes, expected {wanted} for {count} blocks")
    middle = start + count * q * size
    rows = np.frombuffer(data[start:middle], np.int8).reshape(count, q, size)
    push = np.frombuffer(data[middle:], ">i8").reshape(count, q).astype(np.int64)
    if push.size and int(push.min()) < 0:
        raise MaskError(f"the directions file has a push of {int(push.min())}, expected at least 0")
    expect_zero_on(mask[blocks], rows, blocks)
    return DirectionsFile(blocks, rows, push, softness)


def expect_zero_on(mask: NDArray[np.bool_], rows: NDArray[np.int8], blocks: NDArray[np.int64]) -> None:
    """Raise MaskError where rows (n, q, B) of these blocks are not zero on masked weights (n, B)."""
    wrong = np.argwhere((rows != 0) & mask[:, None, :])
    if len(wrong):
        at, row, place = wrong[0].tolist()
        raise MaskError(
            f"forget direction {row} of block {blocks[at]} is {int(rows[at, row, place])} on masked weight "
            f"{place}, expected 0: a masked weight does not move"
        )
