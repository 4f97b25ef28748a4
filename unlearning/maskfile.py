r"""The mask file: the public list of weights to zero, in one canonical byte string per mask and chunk size.

    b"unlearning-mask/v2\n"
    u64 big-endian   total: how many weights the targets have together
    u32 big-endian   chunk: weights per chunk of the flat vector, 1 to 2^24; the last chunk may be shorter
    u64 big-endian   count: how many weights are masked
    u32 big-endian   touched: how many chunks hold a masked weight
    and for each touched chunk, in order
      varint         how many untouched chunks lie between it and the touched one before (or the start)
      varint         2 * (masked weights in the chunk) + form
      form 0         for each masked weight, in order: varint of how many unmasked weights lie between it and the
                     masked one before (or the chunk's start)
      form 1         a bitmap, ceil(weights in the chunk / 8) bytes; bit 7 of the first byte is the first weight

A varint is little-endian base 128: seven bits a byte, the top bit set on all bytes but the last, no superfluous
bytes. A chunk has the shorter of the two forms, form 0 where they are equal. So equal masks have equal digests,
a mask of 4 % takes about one byte a position, and what proving it will cost can be read from the file: every
touched chunk needs a proof, all others none. Needs numpy, not torch.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from unlearning.errors import MaskError

MAGIC: Final = b"unlearning-mask/v2\n"
CHUNK_WEIGHTS: Final = 8192  # of the circuit profile `small`; for another release the mask configuration says more
# Of the default release with a forget direction, range proofs included: docs/results/proving.md.
CPU_MS_PER_WEIGHT: Final = 0.97
PROOF_BYTES_PER_CHUNK: Final = 4387
_HEAD: Final = struct.Struct(">QIQI")
_LIMIT: Final = 2**62  # keeps every position inside int64
_CHUNK_LIMIT: Final = 2**24
_LONGEST_VARINT: Final = 9  # bytes of numbers below 2^63
Indices = npt.NDArray[np.int64]


class Mask(NamedTuple):
    """`indices` (count,) ascend strictly below `total`; `touched` (n,): chunks of `chunk` weights that hold one."""

    total: int
    chunk: int
    indices: Indices
    touched: Indices

    @property
    def chunks(self) -> int:
        """How many chunks the flat vector has."""
        return -(-self.total // self.chunk)


class Cost(NamedTuple):
    """What proving will take of each client: processor time, and bytes to send and keep."""

    cpu_seconds: float
    proof_bytes: int


def cost(mask: Mask, cpu_seconds: float | None = None, proof_bytes: float = PROOF_BYTES_PER_CHUNK) -> Cost:
    """The cost of proving every touched chunk, from figures per chunk; the defaults are the README's machine's.

    Without `cpu_seconds` they follow from the chunk's size: proving costs about the same for each weight.
    """
    if cpu_seconds is None:
        cpu_seconds = CPU_MS_PER_WEIGHT * mask.chunk / 1000
    return Cost(len(mask.touched) * cpu_seconds, round(len(mask.touched) * proof_bytes))


def format_mask(total: int, indices: npt.ArrayLike, chunk: int = CHUNK_WEIGHTS) -> bytes:
    """The file for `indices` (count,), integers that ascend strictly below `total`.

    Raises MaskError when they do not, or for a chunk size outside 1 to 2^24.
    """
    array = np.asarray(indices)
    if array.size == 0:
        array = array.astype(np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise MaskError(f"got indices {array.dtype} of shape {array.shape}, expected a vector of integers")
    array = array.astype(np.int64)
    _check(total, chunk, array)
    touched, starts = np.unique(array // chunk, return_index=True)
    pieces = [MAGIC, _HEAD.pack(total, chunk, array.size, len(touched))]
    gaps = np.diff(touched, prepend=-1) - 1
    for number, members in enumerate(np.split(array, starts[1:]) if array.size else []):
        first = int(touched[number]) * chunk
        pieces.append(_varints(gaps[number : number + 1]))
        pieces.append(_chunk(members - first, min(chunk, total - first)))
    return b"".join(pieces)


def parse_mask(data: bytes) -> tuple[int, Indices]:
    """Read a mask file: (total, ascending int64 positions). Raises MaskError for any other byte string."""
    mask = read_mask(data)
    return mask.total, mask.indices


def read_mask(data: bytes) -> Mask:
    """Read a mask file with its chunk map. Raises MaskError for any other byte string."""
    start = len(MAGIC) + _HEAD.size
    if not data.startswith(MAGIC) or len(data) < start:
        raise MaskError(
            f"got {len(data)} bytes that begin {data[:20]!r}, expected a mask file that begins {MAGIC!r}"
        )
    total, chunk, count, touched = _HEAD.unpack(data[len(MAGIC) : start])
    _check(total, chunk, np.empty(0, dtype=np.int64))
    if touched > -(-total // chunk) or count > 8 * len(data):
        raise MaskError(f"the mask file claims {count} weights in {touched} chunks, more than it can hold")
    reader, pieces, chunks = _Reader(data, start), [], []
    number = -1
    for _ in range(touched):
        number += reader.varint() + 1
        if number * chunk >= total:
            raise MaskError(f"the mask file names chunk {number}, beyond the last of {total} weights")
        pieces.append(number * chunk + reader.chunk(min(chunk, total - number * chunk)))
        chunks.append(number)
    indices = np.concatenate([np.empty(0, dtype=np.int64), *pieces])
    if reader.at != len(data) or len(indices) != count:
        raise MaskError(
            f"the mask file has {len(data)} bytes and {len(indices)} weights, its parts say {reader.at} and {count}"
        )
    return Mask(total, chunk, indices, np.array(chunks, dtype=np.int64))


class _Reader:
    """A position in a mask file."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data, self.at = np.frombuffer(data, np.uint8), at

    def varint(self) -> int:
        return int(self._varints(1, _LIMIT)[0])

    def chunk(self, weights: int) -> Indices:
        """The positions inside one chunk. Refuses the longer of two forms, and counts that do not fit."""
        head = self.varint()
        count, bitmap = head >> 1, bool(head & 1)
        if not 1 <= count <= weights:
            raise MaskError(f"a chunk of {weights} weights has {count} masked ones, expected 1 to all")
        start = self.at
        found = self._bitmap(weights) if bitmap else np.cumsum(self._varints(count, weights) + 1) - 1
        if len(found) != count or int(found[-1]) >= weights:
            raise MaskError(f"a chunk's {count} masked weights do not fit into its {weights}, or are miscounted")
        if self._data[start : self.at].tobytes() != _body(found, weights)[1]:
            raise MaskError(
                "a chunk is written in the longer of two forms, or with spare bits; expected the shorter"
            )
        return found

    def _bitmap(self, weights: int) -> Indices:
        size = -(-weights // 8)
        bits = np.unpackbits(self._data[self.at : self.at + size])
        self.at += size
        return np.flatnonzero(bits).astype(np.int64)

    def _varints(self, count: int, limit: int) -> Indices:
        """The next `count` numbers, each below `limit`."""
        window = self._data[self.at : self.at + _LONGEST_VARINT * count]
        ends = np.flatnonzero(window < 128)[:count]
        if len(ends) < count:
            raise MaskError("the mask file ends inside a number, or a number is too long")
        starts = np.concatenate([[0], ends[:-1] + 1])
        lengths = ends - starts + 1
        if int(lengths.max()) > _LONGEST_VARINT or bool((window[ends[lengths > 1]] == 0).any()):
            raise MaskError("a number of the mask file is too long")
        window = window[: int(ends[-1]) + 1]
        place = np.arange(len(window)) - np.repeat(starts, lengths)
        values = np.add.reduceat((window & 127).astype(np.int64) << (7 * place), starts)
        if int(values.max()) >= limit:
            raise MaskError(f"a number of the mask file is {values.max()}, expected below {limit}")
        self.at += len(window)
        return values


def _chunk(offsets: Indices, weights: int) -> bytes:
    form, body = _body(offsets, weights)
    return _varints(np.array([2 * len(offsets) + form])) + body


def _body(offsets: Indices, weights: int) -> tuple[int, bytes]:
    """Form and bytes of one chunk's positions."""
    gaps = _varints(np.diff(offsets, prepend=-1) - 1)
    if len(gaps) <= -(-weights // 8):
        return 0, gaps
    bits = np.zeros(weights, dtype=np.uint8)
    bits[offsets] = 1
    return 1, np.packbits(bits).tobytes()


def _varints(values: Indices) -> bytes:
    """Numbers at least 0 and below 2^63, one after the other."""
    lengths = np.ones(len(values), dtype=np.int64)
    for power in range(7, 63, 7):
        lengths += values >= 1 << power
    ends = np.cumsum(lengths)
    place = np.arange(int(ends[-1])) - np.repeat(ends - lengths, lengths)
    out = (np.repeat(values, lengths) >> (7 * place)) & 127
    out |= 128
    out[ends - 1] &= 127
    return out.astype(np.uint8).tobytes()


def _check(total: int, chunk: int, indices: Indices) -> None:
    if not 0 < total < _LIMIT:
        raise MaskError(f"the mask is over {total} weights, expected between 1 and 2^62")
    if not 1 <= chunk <= _CHUNK_LIMIT:
        raise MaskError(f"the mask has chunks of {chunk} weights, expected between 1 and 2^24")
    if indices.size and (int(indices.min()) < 0 or int(indices.max()) >= total):
        raise MaskError(
            f"mask positions run from {indices.min()} to {indices.max()}, expected all from 0 to {total - 1}"
        )
    if (np.diff(indices) <= 0).any():
        raise MaskError("mask positions do not ascend strictly; sort them and drop duplicates")
