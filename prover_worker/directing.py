r"""Forget directions as the relation takes them: public rows below the client's own factor rows, and a public push.

A release with q directions has circuits for r + q rows of Ĝ. The client commits to its own r rows, and to zeros
where the others stand. Who makes or checks a proof adds the public part itself, with b over blocks, i over weights,
n over directions (docs/protocol.md, "With forget directions"):

    to H      Σ_n ρ_{r+n} Û_bni    in row b·B + i
    to K      Σ_i σ_i Û_bni        in row b·(r+q) + r + n, counted from the factors' first
    to e      the push c_bn        in its row of the digits: the residual of row r + n is slack + push

The range proof is of the digits as logged, so it bounds the slack. The softness is the release's damping d, which J
adds to the rows of all multipliers. Without a file the directions are zero, the operator is plain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from prover_worker.errors import ProverError
from prover_worker.field import R, Vector
from unlearning import directionsfile
from unlearning.directionsfile import DirectionsFile
from unlearning.errors import UnlearningError
from unlearning.maskfile import parse_mask

if TYPE_CHECKING:
    from ledger.statements.predicates.circuit_release import CircuitParameters
    from prover_worker.layout import Integers, Layout


@dataclass(frozen=True)
class ChunkDirections:
    """One chunk's public directions: rows (blocks, q, B) and push (blocks, q); `rank` is r."""

    rank: int
    rows: Integers
    push: Integers

    def row_columns(self) -> list[Vector]:
        """Û_n in the rows of weights, one column for each direction."""
        return [part.ravel().tolist() for part in np.moveaxis(self.rows, 1, 0)]

    def in_rows(self, rho: Sequence[int]) -> Vector:
        """What is added to H, for the challenge's last q elements of ρ."""
        return [sum(map(int.__mul__, rho, column)) % R for column in zip(*self.row_columns(), strict=True)]

    def in_positions(self, sigma: Sequence[int]) -> Vector:
        """What is added to K, from the factors' first row on."""
        sums = [
            [sum(map(int.__mul__, sigma, row)) % R if any(row) else 0 for row in block]
            for block in self.rows.tolist()
        ]
        return [x for block in sums for x in [0] * self.rank + block]

    def push_column(self) -> Vector:
        """What is added to the digits: the push in the rows of e."""
        padded = np.pad(self.push, ((0, 0), (self.rank, 0)))
        return [0] * (2 * padded.size) + padded.ravel().tolist()


def added(column: Sequence[int], public: Sequence[int]) -> Vector:
    """A column with a public one added to its first rows; salt rows stay as they are."""
    head = [(a + b) % R for a, b in zip(column, public, strict=False)]
    return head + list(column[len(public) :])


def stacked(parts: Sequence[ChunkDirections | None], p: CircuitParameters) -> tuple[Integers, Integers]:
    """Rows (chunks, blocks, q, B) and push (chunks, blocks, q) of some chunks, zero where one has none."""
    rows = np.zeros((len(parts), p.blocks, p.directions, p.block_size), dtype=np.int64)
    push = np.zeros(rows.shape[:3], dtype=np.int64)
    for number, part in enumerate(parts):
        if part is not None:
            rows[number], push[number] = part.rows, part.push
    return rows, push


def read(data: bytes | None, mask_file: bytes, layout: Layout) -> dict[int, ChunkDirections]:
    """Directions of every chunk that has some, by chunk; nothing without a file or under a release without any.

    Raises ProverError for a file that is not of this mask and this release: see `opened`.
    """
    p = layout.parameters
    if data is None or not p.directions:
        return {}
    made = opened(data, mask_file, p)
    chunks, starts = np.unique(made.blocks // p.blocks, return_index=True)
    ends = np.append(starts[1:], len(made.blocks))
    found = {}
    for chunk, start, end in zip(chunks.tolist(), starts, ends, strict=True):
        rows = np.zeros((p.blocks, p.directions, p.block_size), dtype=np.int64)
        push = np.zeros(rows.shape[:2], dtype=np.int64)
        at = made.blocks[start:end] - chunk * p.blocks
        rows[at, : made.count], push[at, : made.count] = made.rows[start:end], made.push[start:end]
        found[chunk] = ChunkDirections(p.rank, rows, push)
    return found


def opened(data: bytes, mask_file: bytes, p: CircuitParameters) -> DirectionsFile:
    """The file, if it is of this mask and a release can take it. Raises ProverError.

    The number of directions must not be more than the release's, and the softness must be its damping.
    """
    try:
        total, indices = parse_mask(mask_file)
        mask = np.zeros(-(-total // p.block_size) * p.block_size, dtype=bool)
        mask[indices] = True
        made = directionsfile.parse(data, mask.reshape(-1, p.block_size), mask_file)
    except UnlearningError as error:
        raise ProverError(f"the forget directions cannot be read: {error}") from error
    if made.count > p.directions:
        raise ProverError(
            f"the mask has {made.count} forget directions a block; this circuit release takes {p.directions}"
        )
    if made.softness != p.damping:
        raise ProverError(
            f"the forget directions have softness {made.softness}; the circuit release's damping is {p.damping}, "
            "and both must be the same"
        )
    return made


def expect_provable(data: bytes, mask_file: bytes, p: CircuitParameters, table_end: int) -> None:
    """Raise ProverError for directions that do not fit, or so long that an honest slack might leave the table."""
    squares = np.square(opened(data, mask_file, p).rows.astype(np.int64)).sum(axis=2)
    if squares.size and int(squares.max()) > table_end:
        raise ProverError(
            f"a forget direction has the squared length {int(squares.max())}; up to {table_end} can be proved, so "
            "the provider must scale it down (the mask configuration's `square`)"
        )
