"""G1 of BN254: points, linear combinations, and commitments in the Lagrange basis of an SRS.

The only module that imports zksnake (arkworks' BN254 behind Python). Points travel as 32 bytes in arkworks'
compressed form: x little-endian, the top bit of the last byte telling the larger y, 0x40 there for the identity.
The cofactor of G1 is one, so a point on the curve is a point of the group.

An SRS file is halo2's raw `ParamsKZG`: k as u32 little-endian, 2^k monomial points, 2^k Lagrange points, then
two points of G2; a G1 point is x ‖ y, each four little-endian u64 limbs in Montgomery form.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from zksnake._algebra import ec_bn254

from prover_worker.errors import CircuitError, PointError
from prover_worker.field import R

#: Modulus of the base field.
Q: Final = 21888242871839275222246405745257275088696311157297823662689037894645226208583
POINT_BYTES: Final = 32
_RAW_BYTES: Final = 64
_FROM_MONTGOMERY: Final = pow(1 << 256, -1, Q)

Point = Any  # ec_bn254.PointG1; the extension module ships no types

IDENTITY: Final[Point] = ec_bn254.PointG1.identity()


def parse_point(data: bytes) -> Point:
    """Read one compressed point.

    Raises PointError unless `data` is the one canonical encoding of a point on the curve.
    """
    if len(data) != POINT_BYTES:
        raise PointError(f"got {len(data)} bytes for a G1 point; expected {POINT_BYTES}")
    try:
        point = ec_bn254.PointG1.from_bytes(list(data))
    except ValueError as error:
        raise PointError(f"bytes {data.hex()} are no compressed point of BN254's G1") from error
    if format_point(point) != data:
        raise PointError(f"bytes {data.hex()} encode a G1 point, but not in its canonical form")
    return point


def format_point(point: Point) -> bytes:
    """Inverse of parse_point."""
    return bytes(point.to_bytes())


def parse_points(data: bytes) -> list[Point]:
    """Read a run of compressed points."""
    if len(data) % POINT_BYTES:
        raise PointError(f"got {len(data)} bytes of points; expected a multiple of {POINT_BYTES}")
    return [parse_point(data[i : i + POINT_BYTES]) for i in range(0, len(data), POINT_BYTES)]


def from_affine(x: int, y: int) -> Point:
    """Build a point from affine coordinates; PointError unless it lies on y² = x³ + 3."""
    expect_on_curve(x, y)
    return ec_bn254.PointG1(x, y)


def expect_on_curve(x: int, y: int) -> None:
    """Raise PointError unless (x, y), both reduced, is a point of y² = x³ + 3."""
    if not (0 <= x < Q and 0 <= y < Q) or (y * y - x * x * x - 3) % Q:
        raise PointError("affine coordinates that do not lie on BN254's G1")


def from_proof(x: int, y: int) -> Point:
    """As from_affine, with (0, 0) for the identity: inverse of to_affine."""
    return from_affine(x, y) if x or y else IDENTITY


def compressed(x: int, y: int) -> bytes:
    """format_point(from_affine(x, y)), a hundred times sooner. PointError unless it lies on y² = x³ + 3."""
    expect_on_curve(x, y)
    return (x | (y > Q - y) << 255).to_bytes(POINT_BYTES, "little")


def to_affine(point: Point) -> tuple[int, int]:
    """Affine coordinates; (0, 0) for the identity."""
    return (0, 0) if point.is_zero() else (int(point.x), int(point.y))


def linear(scalars: Sequence[int], points: Sequence[Point]) -> Point:
    """Return Σ s_k P_k, scalars taken mod R."""
    if len(scalars) != len(points):
        raise AssertionError(f"{len(scalars)} scalars for {len(points)} points")
    if not points:
        return IDENTITY
    return ec_bn254.multiscalar_mul_g1(list(points), [s % R for s in scalars])


class Basis:
    """The first Lagrange points of an SRS, and the commitments they give.

    `commit` is linear, with no blinding: Com(x) = Σ x_j L_j. ezkl's own commitments add the constant `ones(b)`,
    because it fills the last b, unusable, rows of every unblinded column with ones.
    """

    def __init__(self, path: Path, rows: int) -> None:
        """Read the points for `rows` rows. Raises CircuitError when the file is not an SRS that large."""
        self._path = path
        self.logrows, self._lagrange = _open(path)
        if rows > 1 << self.logrows:
            raise CircuitError(f"the SRS {path} has 2^{self.logrows} rows; {rows} are needed")
        self.points = self._read(0, rows)
        self._sums: dict[int, Point] = {0: IDENTITY}

    def _read(self, first: int, last: int) -> list[Point]:
        with self._path.open("rb") as file:
            file.seek(self._lagrange + first * _RAW_BYTES)
            raw = file.read((last - first) * _RAW_BYTES)
        return _decode(raw)

    def commit(self, vector: Sequence[int], start: int = 0) -> Point:
        """Commit to field elements standing in rows start, start + 1, ..."""
        return linear(vector, self.points[start : start + len(vector)])

    def commit_small(self, vector: Sequence[int], start: int = 0) -> Point:
        """Commit to small signed integers: the same point as `commit`, some ten times sooner.

        Multi-scalar multiplication takes time by the scalars' bit length, and a negative number is a full-size
        field element; shifting all by the minimum makes them short, and the shift is undone with one product.
        """
        low = min(vector, default=0)
        shifted = self.commit([x - low for x in vector], start)
        return shifted + self._sum(start, start + len(vector)) * (low % R)

    def _sum(self, start: int, stop: int) -> Point:
        return self._prefix(stop) + -self._prefix(start)

    def _prefix(self, stop: int) -> Point:
        if stop not in self._sums:
            self._sums[stop] = linear([1] * stop, self.points[:stop])
        return self._sums[stop]

    def ones(self, rows: int) -> Point:
        """Commit to ones in the last `rows` rows and zeros elsewhere."""
        size = 1 << self.logrows
        return linear([1] * rows, self._read(size - rows, size))


def _decode(raw: bytes) -> list[Point]:
    """Points of an SRS file."""
    coordinates = [int.from_bytes(raw[i : i + 32], "little") * _FROM_MONTGOMERY % Q for i in range(0, len(raw), 32)]
    return [from_affine(x, y) for x, y in zip(coordinates[::2], coordinates[1::2], strict=True)]


def _encode(point: Point) -> bytes:
    """Inverse of _decode, for one point."""
    return b"".join(((c << 256) % Q).to_bytes(32, "little") for c in to_affine(point))


def _open(path: Path) -> tuple[int, int]:
    """Return (k, offset of the Lagrange points) after checking the file's length."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            k = int.from_bytes(file.read(4), "little")
    except OSError as error:
        raise CircuitError(f"cannot read the SRS {path}: {error.strerror}") from error
    expected = 4 + 2 * _RAW_BYTES * (1 << k) + 2 * 128 if k < 32 else -1
    if size != expected:
        raise CircuitError(f"{path} is no SRS of 2^{k} rows: got {size} bytes, expected {expected}")
    return k, 4 + _RAW_BYTES * (1 << k)


def srs_logrows(path: Path) -> int:
    """K of an SRS with 2^k rows. Raises CircuitError when the file is none."""
    return _open(path)[0]


@lru_cache(maxsize=4)
def reduced_srs(path: Path) -> bytes:
    """An SRS file of two rows with the same secret: the first two points of `path`, and its points of G2.

    Raises CircuitError when `path` is no SRS.
    """
    _open(path)
    with path.open("rb") as file:
        raw = file.read(4 + 2 * _RAW_BYTES)[4:]
        file.seek(-2 * 128, os.SEEK_END)
        ending = file.read()
    one, secret = _decode(raw)
    half = pow(2, -1, R)
    return b"".join(
        [(1).to_bytes(4, "little"), raw, _encode((one + secret) * half), _encode((one + -secret) * half), ending]
    )


@lru_cache(maxsize=4)
def basis(path: Path, rows: int) -> Basis:
    """A Basis, kept between calls: reading one takes about a second at 2^14 rows."""
    return Basis(path, rows)
