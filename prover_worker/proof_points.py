"""The commitments that a proof begins with: uncompressed points, x ‖ y, 32 bytes each, big-endian."""

from __future__ import annotations

from typing import Final

from prover_worker.errors import PointError

POINT_BYTES: Final = 64


def first_points(proof: bytes, count: int) -> list[tuple[int, int]]:
    """The first `count` of them, as affine coordinates. Raises PointError when the proof is shorter than that."""
    if len(proof) < count * POINT_BYTES:
        raise PointError(f"got a proof of {len(proof)} bytes; its {count} commitments alone need more")
    numbers = [int.from_bytes(proof[i : i + 32], "big") for i in range(0, count * POINT_BYTES, 32)]
    return list(zip(numbers[::2], numbers[1::2], strict=True))
