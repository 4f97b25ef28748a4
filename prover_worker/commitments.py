"""What a client commits to: columns with salt, their points, and the files that carry points.

Per chunk, `A_n` holds row n of every block's factor and `B_i` column i of it: the same integers twice, so that
both Σ ρ_n A_n and Σ σ_i B_i are commitments the verifier computes without seeing a factor. Point files are
records without header, one per chunk in order; their RFC 6962 Merkle root, leaf = record, goes into the log.

Salt rows are derived: SHA-256 in counter mode under a secret random seed, one label per vector. Whoever lacks
the seed sees uniformly random rows; whoever loses it can neither prove nor open, and nobody else could.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prover_worker import hiding
from prover_worker.curve import POINT_BYTES, Basis, Point, format_point, parse_points
from prover_worker.errors import PointError, ProvingFailed
from prover_worker.field import Vector, expand
from prover_worker.layout import Integers, Layout


@dataclass(frozen=True)
class ChunkSecrets:
    """One chunk of what an enrolled client keeps: weights (blocks, B), factors (blocks, r, B), the salt seed."""

    chunk: int
    weights: Integers
    factors: Integers
    seed: bytes

    def weight_column(self, salt_rows: int) -> Vector:
        """Rows of w, then salt."""
        return _column(self.weights, self.seed, f"w/{self.chunk}", salt_rows)

    def row_columns(self, salt_rows: int) -> list[Vector]:
        """A_0 … A_{r-1}."""
        parts = np.moveaxis(self.factors, 1, 0)
        return [_column(a, self.seed, f"A/{self.chunk}/{n}", salt_rows) for n, a in enumerate(parts)]

    def position_columns(self, salt_rows: int, directions: int = 0) -> list[Vector]:
        """B_0 … B_{B-1} from row `factor_start` on, with zeros where public forget directions will stand."""
        parts = np.moveaxis(np.pad(self.factors, ((0, 0), (0, directions), (0, 0))), 2, 0)
        return [_column(b, self.seed, f"B/{self.chunk}/{i}", salt_rows) for i, b in enumerate(parts)]


@dataclass(frozen=True)
class ChunkSolution:
    """One touched chunk of a claim: new weights and f (blocks, B), v and e (blocks, r + q), and a fresh salt.

    Where there are forget directions, μ stands behind v, and their slack behind e.
    """

    chunk: int
    weights: Integers
    f: Integers
    v: Integers
    e: Integers
    seed: bytes

    def weight_column(self, salt_rows: int) -> Vector:
        """Rows of w', then salt."""
        return _column(self.weights, self.seed, f"u/{self.chunk}", salt_rows)

    def f_column(self, salt_rows: int) -> Vector:
        """Rows of f = vĜ (+ μÛ), then salt."""
        return _column(self.f, self.seed, f"f/{self.chunk}", salt_rows)

    def digit_column(self, base: int, salt_rows: int, noise_rows: int = 0) -> Vector:
        """v_lo, v_hi and e, salt, then random digits; v = v_lo + base·v_hi with v_lo in [-base/2, base/2)."""
        high = (self.v + base // 2) // base
        parts = np.concatenate([(self.v - base * high).ravel(), high.ravel(), self.e.ravel()])
        # What a table is sure to hold whatever its number of columns: `hiding.spread` counts on this many.
        noise = [x % hiding.spread(base) - base for x in expand(self.seed, f"n/{self.chunk}".encode(), noise_rows)]
        return _column(parts, self.seed, f"z/{self.chunk}", salt_rows) + noise


def _column(values: NDArray[Any], seed: bytes, label: str, salt_rows: int) -> Vector:
    return [int(x) for x in values.ravel().tolist()] + expand(seed, label.encode(), salt_rows)


def check_digits(column: Vector, rows: int, lowest: int, highest: int, chunk: int) -> None:
    """Raise ProvingFailed when a digit lies outside the table: ezkl would never come back with a proof."""
    low, high = min(column[:rows], default=0), max(column[:rows], default=0)
    if low < lowest or high > highest:
        raise ProvingFailed(
            f"chunk {chunk}: a digit of v or e is {low if low < lowest else high}, outside the range "
            f"[{lowest}, {highest}] of the circuit; this solution is not the prescribed one"
        )


def _commit(basis: Basis, column: Vector, salt_rows: int, start: int = 0, noise_rows: int = 0) -> Point:
    salt, noise = len(column) - salt_rows - noise_rows, len(column) - noise_rows
    small = basis.commit_small(column[:salt], start) + basis.commit_small(column[noise:], start + noise)
    return small + basis.commit(column[salt:noise], start + salt)


def commit_weights(basis: Basis, layout: Layout, secrets: ChunkSecrets) -> bytes:
    """The record of Com(θ) for one chunk: one point."""
    salt = layout.parameters.salt_rows
    return format_point(_commit(basis, secrets.weight_column(salt), salt))


def commit_curvature(basis: Basis, layout: Layout, secrets: ChunkSecrets) -> bytes:
    """The record of Com(C) for one chunk: r + B points."""
    salt, q = layout.parameters.salt_rows, layout.parameters.directions
    rows = [_commit(basis, column, salt) for column in secrets.row_columns(salt)]
    positions = secrets.position_columns(salt, q)
    rows += [_commit(basis, column, salt, layout.factor_start) for column in positions]
    return b"".join(format_point(point) for point in rows)


def commit_solution(basis: Basis, layout: Layout, solution: ChunkSolution, base: int) -> tuple[bytes, bytes]:
    """The new record of Com(θu) for a touched chunk (one point) and its solution record (points of f, digits)."""
    salt, noise = layout.parameters.salt_rows, layout.parameters.noise_rows
    weights = _commit(basis, solution.weight_column(salt), salt)
    f = _commit(basis, solution.f_column(salt), salt)
    digits = _commit(basis, solution.digit_column(base, salt, noise), salt, noise_rows=noise)
    return format_point(weights), format_point(f) + format_point(digits)


def split_records(data: bytes, points: int, count: int, what: str) -> list[bytes]:
    """Cut a point file into its records. Raises PointError when its length is not what it must be."""
    size = points * POINT_BYTES
    if len(data) != count * size:
        raise PointError(f"the {what} file has {len(data)} bytes; expected {count} records of {size}")
    return [data[i : i + size] for i in range(0, len(data), size)]


def parse_record(record: bytes) -> list[Point]:
    """Points of one record. Raises PointError."""
    return parse_points(record)
