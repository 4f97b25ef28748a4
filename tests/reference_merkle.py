"""RFC 6962 section 2.1, written down as it reads: recursive, slow, and used to check the real thing."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence


def root(records: Sequence[bytes]) -> bytes:
    """MTH(D[n])."""
    if not records:
        return hashlib.sha256(b"").digest()
    if len(records) == 1:
        return hashlib.sha256(b"\x00" + records[0]).digest()
    k = split(len(records))
    return hashlib.sha256(b"\x01" + root(records[:k]) + root(records[k:])).digest()


def path(index: int, records: Sequence[bytes]) -> list[bytes]:
    """PATH(m, D[n])."""
    if len(records) == 1:
        return []
    k = split(len(records))
    if index < k:
        return [*path(index, records[:k]), root(records[k:])]
    return [*path(index - k, records[k:]), root(records[:k])]


def proof(old: int, records: Sequence[bytes]) -> list[bytes]:
    """PROOF(m, D[n])."""
    return subproof(old, records, whole=True)


def subproof(old: int, records: Sequence[bytes], *, whole: bool) -> list[bytes]:
    """SUBPROOF(m, D[n], b)."""
    if old == len(records):
        return [] if whole else [root(records)]
    k = split(len(records))
    if old <= k:
        return [*subproof(old, records[:k], whole=whole), root(records[k:])]
    return [*subproof(old - k, records[k:], whole=False), root(records[:k])]


def split(count: int) -> int:
    """The largest power of two below count."""
    k = 1
    while 2 * k < count:
        k *= 2
    return k
