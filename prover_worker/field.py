"""The scalar field of BN254, on plain Python integers.

Witness vectors have some ten thousand entries per chunk; at that size Python's integers cost a few
milliseconds per vector against seconds for the proof itself, so there is nothing to gain from more machinery.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Final

#: Order of G1 and modulus of the scalar field.
R: Final = 21888242871839275222246405745257275088548364400416034343698204186575808495617

Vector = list[int]


def expand(seed: bytes, label: bytes, count: int) -> Vector:
    """Derive `count` field elements, uniform up to a bias of 2^-258, from a seed and a label.

    Element i is SHA-256(seed ‖ label ‖ i ‖ 0) ‖ SHA-256(seed ‖ label ‖ i ‖ 1), big-endian, reduced mod R;
    i is a u64, big-endian, and label is preceded by its length as a u32 so that labels cannot run together.
    """
    prefix = seed + len(label).to_bytes(4, "big") + label
    out = []
    for i in range(count):
        wide = b"".join(hashlib.sha256(prefix + i.to_bytes(8, "big") + half).digest() for half in (b"\0", b"\1"))
        out.append(int.from_bytes(wide, "big") % R)
    return out


def combine(coefficients: Sequence[int], vectors: Sequence[Sequence[int]]) -> Vector:
    """Return Σ c_k x_k mod R for vectors of equal length."""
    return [sum(map(int.__mul__, coefficients, column)) % R for column in zip(*vectors, strict=True)]


def encode(vector: Iterable[int]) -> list[str]:
    """Field elements as ezkl reads them: 32 bytes, little-endian, hex."""
    return [(x % R).to_bytes(32, "little").hex() for x in vector]
