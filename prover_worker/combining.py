"""The points of many proofs compared with the log's at once, by one random linear combination.

A proof begins with the commitments of its columns; each must be a known combination of logged points and of the
SRS's Lagrange points. Instead of computing every one of them, a verifier draws a number z below 2^128 for each,
after all proofs lie before it, and checks

    Σ z·(expected − given) = 0

over all columns of all proofs. G1 has prime order, so where any difference is not the identity at most one value of
its z, given all others, makes the sum vanish: a wrong point passes with probability at most 2^-128. The z come from
the operating system and are never shown, so no prover can choose differences that cancel.

The sum takes one multi-scalar multiplication over the proofs' own and the logged points, some ninety for a chunk,
and one over the SRS's points (`RowSums`), however many proofs there are. When it is not zero, or a proof does not
begin with points, proofs are looked at one by one, which names the wrong column (docs/soundness.md, section 3).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from prover_worker import curve, pool
from prover_worker.backend import Backend, Kind
from prover_worker.challenge import Challenge
from prover_worker.curve import IDENTITY, Basis, Point, linear
from prover_worker.directing import ChunkDirections
from prover_worker.errors import PointError, ProvingFailed, VerifierBroke
from prover_worker.field import R
from prover_worker.layout import Layout
from prover_worker.release import Release

Z_BITS: Final = 128
#: Proofs that a process checks before it answers: half a second, so that progress is seen and no memory piles up.
BATCH: Final = 16
#: Proofs for each process that is started: starting one takes about as long as checking so many.
WORTH: Final = 48
#: Seconds without an answer from any process after which they are taken to hang.
PATIENCE: Final = 900.0
_CONTRADICTION: Final = (
    "proofs failed together and not alone, so this machine has miscalculated; nothing is decided, verify again"
)
_LIMB: Final = 32
_LOW: Final = (1 << _LIMB) - 1
_LIMBS: Final = 8  # of a field element


def draw_z(count: int) -> list[int]:
    """The verifier's own randomness: `count` numbers below 2^128, new each time."""
    return [secrets.randbits(Z_BITS) for _ in range(count)]


@dataclass(frozen=True)
class Item:
    """One proof, and its share of the sum but for the SRS's points.

    `logged` are compressed points, one behind the other, and `scalars` what each is taken with; `z` belongs to the
    points that the proof begins with, in their order.
    """

    kind: Kind
    number: int  # of the chunk or group
    proof: bytes
    logged: bytes
    scalars: Sequence[int]
    z: Sequence[int]


@dataclass(frozen=True)
class Checked:
    """What a process found out about some items: their sum, compressed, and one answer for each.

    `joined`: its points are in the sum. They are not where bytes are no points, which the claim is to blame for.
    """

    total: bytes
    joined: tuple[bool, ...]
    holds: tuple[bool, ...]


def check_items(backend: Backend, release: Release, items: Sequence[Item]) -> Checked:
    """Read the points of some proofs, add them up, and verify the proofs."""
    scalars: list[int] = []
    points: list[Point] = []
    joined, holds = [], []
    for item in items:
        try:
            own = curve.parse_points(item.logged)
            given = [curve.from_proof(x, y) for x, y in backend.points(item.proof, len(item.z))]
        except PointError:
            joined.append(False)
            holds.append(False)
            continue
        scalars += [*item.scalars, *(-z for z in item.z)]
        points += own + given
        joined.append(True)
        holds.append(backend.verify(item.kind, release.files(item.kind), item.proof))
    return Checked(curve.format_point(linear(scalars, points)), tuple(joined), tuple(holds))


class Verifier(Protocol):
    """What knows the claim: the public columns, and how one proof is checked by itself."""

    backend: Backend
    release: Release

    def row_sums(self) -> RowSums:
        """An empty sum."""

    def include(self, rows: RowSums, item: Item) -> None:
        """Add the public part of one proof's columns."""

    def check_alone(self, item: Item) -> str | None:
        """What is wrong with one proof, or None."""


def check(
    verifier: Verifier, items: Sequence[Item], progress: Callable[[int], None], jobs: int
) -> dict[tuple[Kind, int], str]:
    """Reasons of the proofs that fail, by kind and number; the same whatever `jobs` is.

    `progress` hears how many proofs have been seen. Raises VerifierBroke when a process dies or hangs, and when
    proofs fail together of which none fails alone, which only a fault of this machine can bring about: then
    nothing is known.
    """
    if not items:
        return {}
    holds, equal = _together(verifier, items, progress, jobs)
    found = {}
    for item, holding in zip(items, holds, strict=True):
        reason = None if holding and equal else verifier.check_alone(item)
        if reason is not None:
            found[item.kind, item.number] = reason
        elif not holding:
            raise VerifierBroke(_CONTRADICTION)
    if not equal and not found:
        raise VerifierBroke(_CONTRADICTION)
    return found


def _together(
    verifier: Verifier, items: Sequence[Item], progress: Callable[[int], None], jobs: int
) -> tuple[list[bool], bool]:
    """Whether each proof holds, and whether all points are as they must be."""
    batches = [items[i : i + BATCH] for i in range(0, len(items), BATCH)]
    rows, total, seen = verifier.row_sums(), IDENTITY, 0
    answers: dict[int, Checked] = {}
    for number, found in _answers(verifier.backend, verifier.release, batches, jobs):
        answers[number] = found
        total += curve.parse_point(found.total)
        for item, joined in zip(batches[number], found.joined, strict=True):
            seen += 1
            if joined:
                verifier.include(rows, item)
            progress(seen)
    holds = [answer for number in range(len(batches)) for answer in answers[number].holds]
    return holds, (total + rows.point()).is_zero()


def _answers(
    backend: Backend, release: Release, batches: Sequence[Sequence[Item]], jobs: int
) -> Iterator[tuple[int, Checked]]:
    jobs = min(jobs, sum(map(len, batches)) // WORTH)
    if jobs <= 1:
        for number, batch in enumerate(batches):
            yield number, check_items(backend, release, batch)
        return
    tasks = ((backend, release, batch) for batch in batches)
    try:
        yield from pool.run(check_items, tasks, jobs, patience=PATIENCE)
    except ProvingFailed as error:
        raise VerifierBroke(f"the proofs could not be verified, and nothing is decided: {error}") from error


class RowSums:
    """The sum's scalars of the SRS's own points: public columns of all proofs, each taken with its z.

    Numbers below 2^128 that stand in many rows are kept in limbs of 32 bits, which numpy adds; 2^31 chunks would
    fit. A direction's entry is one byte, so its products with a limb fit as well.
    """

    def __init__(self, layout: Layout, challenge: Challenge, basis: Basis) -> None:
        """Nothing is summed yet."""
        self._layout, self._challenge, self._basis = layout, challenge, basis
        p = layout.parameters
        self._tau = self._damped = self._coefficients = 0
        self._ones: dict[int, int] = {}
        self._masked = np.zeros((layout.chunk_weights, Z_BITS // _LIMB), dtype=np.int64)
        shape = (p.blocks, p.directions, p.block_size, _LIMBS)
        self._in_h, self._in_k = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
        self._pushed: dict[int, int] = {}

    def add_ones(self, rows: int, z: int) -> None:
        """The constant of the last rows of a column."""
        self._ones[rows] = self._ones.get(rows, 0) + z

    def add_tau(self, z_tau: int, z_kept: int, masked: Sequence[int]) -> None:
        """The columns tau and tau_kept of a chunk, `masked` being the rows where the second is zero."""
        self._tau += z_tau + z_kept
        self._masked[np.asarray(masked, dtype=np.int64)] += _limbs(z_kept, Z_BITS // _LIMB)

    def add_damped(self, z: int) -> None:
        """The public part of J."""
        self._damped += z

    def add_coefficients(self, z: int) -> None:
        """The column of ρ and α."""
        self._coefficients += z

    def add_directions(self, part: ChunkDirections, in_h: int, in_k: int, in_digits: int) -> None:
        """A chunk's forget directions, where H, K and the digits are taken with these scalars."""
        rows = part.rows[..., None]
        self._in_h += rows * _limbs(in_h % R, _LIMBS)
        self._in_k += rows * _limbs(in_k % R, _LIMBS)
        for row, value in enumerate(part.push_column()):
            if value:
                self._pushed[row] = self._pushed.get(row, 0) + in_digits * value

    def point(self) -> Point:
        """Everything that was added, as one point."""
        ones = [self._basis.ones(rows) for rows in self._ones]
        return self._basis.commit(self._scalars()) + linear(list(self._ones.values()), ones)

    def _scalars(self) -> list[int]:
        """One for each row that a column can reach."""
        p, c = self._layout.parameters, self._challenge
        out = [0] * self._layout.commit_rows
        kept = [self._tau - masked for masked in _numbers(self._masked)]
        for row, (tau, scalar) in enumerate(zip(c.tau(), kept, strict=True)):
            out[row] = tau * scalar
        for row, value in enumerate(c.coefficients()):
            out[row] += self._coefficients * value
        for row, value in enumerate(c.damped(p.damping), self._layout.factor_start):
            out[row] += self._damped * value
        for row, value in self._pushed.items():
            out[row] += value
        for n, rho in enumerate(c.rho[p.rank :]):
            for row, value in enumerate(_numbers(self._in_h[:, n])):
                out[row] += rho * value
            in_k = _numbers(self._in_k[:, n])
            for block in range(p.blocks):
                row = self._layout.factor_start + block * p.multipliers + p.rank + n
                start = block * p.block_size
                out[row] += sum(map(int.__mul__, c.sigma, in_k[start : start + p.block_size]))
        return out


def _limbs(number: int, count: int) -> NDArray[np.int64]:
    return np.array([number >> _LIMB * i & _LOW for i in range(count)], dtype=np.int64)


def _numbers(limbs: NDArray[np.int64]) -> list[int]:
    """Inverse of _limbs over the last axis, as a flat list; limbs may have grown past 32 bits, or be negative."""
    flat = limbs.reshape(-1, limbs.shape[-1])
    words, carry = np.empty((len(flat), flat.shape[1] + 2), dtype="<u4"), np.zeros(len(flat), dtype=np.int64)
    for i in range(flat.shape[1]):
        total = flat[:, i] + carry
        words[:, i], carry = total & _LOW, total >> _LIMB
    words[:, -2], words[:, -1] = carry & _LOW, carry >> _LIMB & _LOW
    data, size = words.tobytes(), 4 * words.shape[1]
    return [int.from_bytes(data[k : k + size], "little", signed=True) for k in range(0, len(data), size)]
