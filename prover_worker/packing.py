"""Proof bytes with compressed points.

A proof is a run of 32-byte words: uncompressed points, x ‖ y, and scalars, in an order that the circuit fixes and
that this module does not need to know. From the front, two words that are a point of the curve become its 32 bytes
in compressed form; every other word stays. Written are

    u8 number of bytes after the last whole word
    then, as often as it takes:   u16 number of points, the points, u16 number of words, the words
    the bytes after the last word

Two scalars that happen to be a point are packed as one and come back as they were. There is one packed form of
every string of bytes, and `unpack` takes no other.
"""

from __future__ import annotations

from typing import Final

from prover_worker.curve import compressed, parse_point, to_affine
from prover_worker.errors import BundleError, PointError

_WORD: Final = 32
_MOST: Final = 0xFFFF  # of a kind in one run


def pack(proof: bytes) -> bytes:
    """Inverse of unpack."""
    tail = len(proof) % _WORD
    end, at, out = len(proof) - tail, 0, [bytes([tail])]
    while at < end:
        points: list[bytes] = []
        words: list[bytes] = []
        while len(points) < _MOST and (point := _point(proof[at : min(at + 2 * _WORD, end)])) is not None:
            points.append(point)
            at += 2 * _WORD
        while at < end and len(words) < _MOST and _point(proof[at : min(at + 2 * _WORD, end)]) is None:
            words.append(proof[at : at + _WORD])
            at += _WORD
        for kind in (points, words):
            out += [len(kind).to_bytes(2, "big"), *kind]
    return b"".join([*out, proof[end:]])


def unpack(data: bytes) -> bytes:
    """The proof. Raises BundleError unless `data` is the packed form of one."""
    if not data or data[0] >= _WORD or len(data) <= data[0]:
        raise BundleError(f"a packed proof of {len(data)} bytes has no room for what its first byte announces")
    end, at, out = len(data) - data[0], 1, b""
    while at < end:
        for points in (True, False):
            count, at = int.from_bytes(data[at : at + 2], "big"), at + 2
            stop = at + count * _WORD
            if at > end or stop > end:
                raise BundleError(f"a packed proof of {len(data)} bytes ends inside a run of {count} at byte {at}")
            out += _points(data[at:stop]) if points else data[at:stop]
            at = stop
    out += data[end:]
    if pack(out) != data:
        raise BundleError("a proof is not packed as it must be: another form of it is shorter or longer")
    return out


def _point(pair: bytes) -> bytes | None:
    """The compressed point that two words are, or None."""
    if len(pair) < 2 * _WORD:
        return None
    try:
        return compressed(int.from_bytes(pair[:_WORD], "big"), int.from_bytes(pair[_WORD:], "big"))
    except PointError:
        return None


def _points(run: bytes) -> bytes:
    try:
        found = [to_affine(parse_point(run[i : i + _WORD])) for i in range(0, len(run), _WORD)]
    except PointError as error:
        raise BundleError(f"a packed proof holds no point where one should be: {error}") from error
    return b"".join(number.to_bytes(_WORD, "big") for point in found for number in point)
