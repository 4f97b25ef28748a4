r"""The mask file: the public list of weights to zero, in one canonical byte string per mask.

    b"unlearning-mask/v1\n"
    u64 big-endian   total: how many weights the targets have together
    u64 big-endian   count: how many of them are masked
    count x u64 big-endian, strictly ascending: positions in the flat vector of the targets, each < total

Nothing precedes, follows or separates these, so equal masks have equal digests. Needs numpy, not torch.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from unlearning.errors import MaskError

MAGIC: Final = b"unlearning-mask/v1\n"
_HEADER = len(MAGIC) + 16
_LIMIT = 2**62  # keeps every position inside int64
Indices = npt.NDArray[np.int64]


def format_mask(total: int, indices: npt.ArrayLike) -> bytes:
    """The file for `indices` (count,), integers that ascend strictly below `total`.

    Raises MaskError when they do not.
    """
    array = np.asarray(indices)
    if array.size == 0:
        array = array.astype(np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise MaskError(f"got indices {array.dtype} of shape {array.shape}, expected a vector of integers")
    _check(total, array.astype(np.int64))
    numbers = np.concatenate([np.array([total, array.size]), array]).astype(">u8")
    return MAGIC + numbers.tobytes()


def parse_mask(data: bytes) -> tuple[int, Indices]:
    """Read a mask file: (total, ascending int64 positions). Raises MaskError for any other byte string."""
    if not data.startswith(MAGIC) or len(data) < _HEADER:
        raise MaskError(
            f"got {len(data)} bytes that begin {data[:20]!r}, expected a mask file that begins {MAGIC!r}"
        )
    total, count = (int(number) for number in np.frombuffer(data, ">u8", count=2, offset=len(MAGIC)))
    if len(data) != _HEADER + 8 * count:
        raise MaskError(
            f"the mask file has {len(data)} bytes, expected {_HEADER + 8 * count} for {count} positions"
        )
    raw = np.frombuffer(data, ">u8", offset=_HEADER)
    if count and int(raw.max()) >= _LIMIT:
        raise MaskError(f"the mask file holds position {int(raw.max())}, expected positions below 2^62")
    indices = raw.astype(np.int64)
    _check(total, indices)
    return total, indices


def _check(total: int, indices: Indices) -> None:
    if not 0 < total < _LIMIT:
        raise MaskError(f"the mask is over {total} weights, expected between 1 and 2^62")
    if indices.size and (int(indices.min()) < 0 or int(indices.max()) >= total):
        raise MaskError(
            f"mask positions run from {indices.min()} to {indices.max()}, expected all from 0 to {total - 1}"
        )
    if (np.diff(indices) <= 0).any():
        raise MaskError("mask positions do not ascend strictly; sort them and drop duplicates")
