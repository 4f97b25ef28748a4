"""Verifying a claim against what the log holds, without ever seeing a private vector.

Plan, the same numbers in the code:
 1. read mask, forget directions, point files and bundle strictly; the digest of the other tensors must
    not have changed;
 2. a chunk without a masked weight must keep its point;
 3. for every touched chunk (or those drawn), the commitments of the relation's nine columns follow from logged
    points, mask, directions and challenge, and must be the first points of its proof;
 4. check the proof, its public output being zero;
 5. for every group, the digit commitments must be the range proof's first points; check that proof.

The points of steps 3 and 5 are compared all at once (combining.py). Only where that fails, or a proof does not
hold, is each looked at by itself, and the reason named.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from ledger.statements.predicates.circuit_release import CircuitParameters
from ledger.tlog.checkpoint import Checkpoint
from prover_worker import combining, curve, directing
from prover_worker.backend import Backend
from prover_worker.bundle import ProofBundle, parse_bundle
from prover_worker.challenge import EVERYTHING, Challenge, Draw, derive
from prover_worker.combining import Item, RowSums, draw_z
from prover_worker.commitments import parse_record, split_records
from prover_worker.curve import Basis, Point, linear
from prover_worker.errors import CircuitError, PointError, ProverError
from prover_worker.field import R
from prover_worker.layout import RELATION_COLUMNS, Layout
from prover_worker.release import Release
from unlearning.errors import UnlearningError
from unlearning.maskfile import parse_mask


@dataclass(frozen=True)
class Case:
    """All public inputs of one verification, as raw bytes; digests and roots were checked by the caller."""

    release: Release
    total: int
    weights: bytes
    curvature: bytes
    other_tensors: str
    mask: bytes
    claim_weights: bytes
    solution: bytes
    claim_other_tensors: str
    checkpoint: Checkpoint
    claim_index: int
    claim_leaf: bytes
    bundle: bytes
    draw: Draw = EVERYTHING
    directions: bytes | None = None


@dataclass
class Verification:
    """The outcome: reasons by chunk (None for the claim as a whole), and what it cost.

    `seconds` leaves out reading the SRS, which a process does once.
    """

    failures: dict[int | None, str] = field(default_factory=dict)
    proved: int = 0
    untouched: int = 0
    touched: int = 0
    seconds: float = 0.0

    @property
    def accepted(self) -> bool:
        """Whether nothing failed."""
        return not self.failures


class Verifier:
    """Steps 3 to 5 for one claim."""

    def __init__(self, case: Case, backend: Backend) -> None:
        """Parse everything (step 1). Raises ProverError naming what is malformed."""
        self.backend, self.release = backend, case.release
        self.p: CircuitParameters = case.release.predicate.parameters
        self.layout = Layout(self.p, case.total)
        self.masked = _masked(case, self.layout)
        self.touched = sorted(self.masked)
        self.directions = directing.read(case.directions, case.mask, self.layout)
        n = self.layout.chunks
        self.weights = split_records(case.weights, 1, n, "committed weights")
        self.curvature = split_records(case.curvature, self.layout.points_per_curvature, n, "curvature")
        self.claimed = split_records(case.claim_weights, 1, n, "claimed weights")
        solutions = split_records(case.solution, 2, len(self.touched), "solution")
        self.solution = dict(zip(self.touched, solutions, strict=True))
        self.challenge: Challenge = derive(self.p, case.checkpoint, case.claim_index, case.claim_leaf, case.draw)
        self.drawn = self.challenge.drawn(self.touched)
        self.groups = self.layout.groups(self.drawn)
        self.bundle = _bundle(case.bundle, self.drawn, len(self.groups))

    @cached_property
    def basis(self) -> Basis:
        """Lagrange points for every row a column can reach."""
        return curve.basis(self.release.relation.srs, self.layout.commit_rows)

    @cached_property
    def _tau(self) -> tuple[list[int], Point, Point, Point]:
        """τ, Com(τ), Com(ρ, α) and the commitment of J's public part: one each serves all chunks."""
        tau, basis = self.challenge.tau(), self.basis
        damped = basis.commit(self.challenge.damped(self.p.damping), self.layout.factor_start)
        return tau, basis.commit(tau), basis.commit(self.challenge.coefficients()), damped

    @cached_property
    def _ones(self) -> dict[str, Point]:
        predicate = self.release.predicate
        return {
            "relation": self.basis.ones(predicate.relation.blinding_rows),
            "range": self.basis.ones(predicate.range.blinding_rows),
        }

    def expected_points(self, chunk: int) -> list[Point]:
        """Step 3: commitments of X, Y, H, D, τ, τ∘m̄, J, Z, coefficients. Raises PointError."""
        w, u = parse_record(self.weights[chunk])[0], parse_record(self.claimed[chunk])[0]
        f, digits = parse_record(self.solution[chunk])
        factors = parse_record(self.curvature[chunk])
        c, (tau, tau_point, coefficients, damped) = self.challenge, self._tau
        h = linear(c.rho[: self.p.rank], factors[: self.p.rank])
        k = linear(c.sigma, factors[self.p.rank :])
        if chunk in self.directions:
            h, k, digits = self._directed(chunk, h, k, digits)
        rows = self.masked[chunk]
        tau_masked = linear([tau[row] for row in rows], [self.basis.points[row] for row in rows])
        return [
            u + f * c.beta + h * c.gamma,
            w + -f,
            h,
            u + -w,
            tau_point,
            tau_point + -tau_masked,
            k * c.beta + damped,
            digits + k * c.gamma,
            coefficients,
        ]

    def _directed(self, chunk: int, h: Point, k: Point, digits: Point) -> tuple[Point, Point, Point]:
        """H, K and the digits' point with a chunk's public directions and push in them."""
        c, part = self.challenge, self.directions[chunk]
        rows = [self.basis.commit_small(column) for column in part.row_columns()]
        pushed = [(row, value) for row, value in enumerate(part.push_column()) if value]
        return (
            h + linear(c.rho[self.p.rank :], rows),
            k + self.basis.commit(part.in_positions(c.sigma), self.layout.factor_start),
            digits + linear([value for _, value in pushed], [self.basis.points[row] for row, _ in pushed]),
        )

    def items(self) -> list[Item]:
        """All proofs that were given, with the points they are about."""
        relations = [self._relation_item(chunk) for chunk in self.drawn if chunk in self.bundle.relations]
        groups = enumerate(self.groups)
        return relations + [self._range_item(n, chunks) for n, chunks in groups if n in self.bundle.ranges]

    def _relation_item(self, chunk: int) -> Item:
        """`expected_points` without the SRS's part, as scalars of w, w', f, the digits, A_n and B_i."""
        z = draw_z(len(RELATION_COLUMNS))
        x, y, _, d, *_ = z
        c, (in_h, in_k, in_digits) = self.challenge, self._shares(z)
        scalars = [y - d, x + d, c.beta * x - y, in_digits]
        scalars += [in_h * rho % R for rho in c.rho[: self.p.rank]]
        scalars += [in_k * sigma % R for sigma in c.sigma]
        logged = self.weights[chunk] + self.claimed[chunk] + self.solution[chunk] + self.curvature[chunk]
        return Item("relation", chunk, self.bundle.relations[chunk], logged, scalars, z)

    def _shares(self, z: Sequence[int]) -> tuple[int, int, int]:
        """What H, K and the digits are taken with: H stands in X too, K in J and Z."""
        x, _, h, _, _, _, j, digits, _ = z
        return h + self.challenge.gamma * x, self.challenge.beta * j + self.challenge.gamma * digits, digits

    def _range_item(self, group: int, chunks: Sequence[int]) -> Item:
        z = draw_z(self.p.range_group)
        logged = b"".join(self.solution[chunk] for chunk in chunks)  # f, which must be a point, and the digits
        scalars = [scalar for one in z[: len(chunks)] for scalar in (0, one)]
        return Item("range", group, self.bundle.ranges[group], logged, scalars, z)

    def row_sums(self) -> RowSums:
        """Where the SRS's parts are added up."""
        return RowSums(self.layout, self.challenge, self.basis)

    def include(self, rows: RowSums, item: Item) -> None:
        """Add the SRS's part of what a proof begins with."""
        predicate = self.release.predicate
        if item.kind == "range":
            rows.add_ones(predicate.range.blinding_rows, sum(item.z))
            return
        _, _, _, _, tau, kept, j, _, coefficients = item.z
        rows.add_ones(predicate.relation.blinding_rows, sum(item.z))
        rows.add_tau(tau, kept, self.masked[item.number])
        rows.add_damped(j)
        rows.add_coefficients(coefficients)
        if item.number in self.directions:
            rows.add_directions(self.directions[item.number], *self._shares(item.z))

    def check_alone(self, item: Item) -> str | None:
        """What is wrong with one proof, by itself; None if nothing is."""
        return self.check_relation(item.number) if item.kind == "relation" else self.check_range(item.number)

    def check_relation(self, chunk: int) -> str | None:
        """Steps 3 and 4 for one chunk by itself: None, or the reason it fails."""
        proof = self.bundle.relations.get(chunk)
        if proof is None:
            return "no proof was given for this chunk"
        try:
            expected = self.expected_points(chunk)
            given = self.backend.points(proof, len(expected))
        except PointError as error:
            return str(error)
        for name, want, got in zip(RELATION_COLUMNS, expected, given, strict=True):
            if curve.to_affine(want + self._ones["relation"]) != got:
                return f"the proof commits to another {name} than the log does"
        if not self.backend.verify("relation", self.release.relation, proof):
            return "the proof does not show the prescribed relation"
        return None

    def check_range(self, group: int) -> str | None:
        """Step 5 for one group by itself: None, or the reason it fails."""
        proof = self.bundle.ranges.get(group)
        if proof is None:
            return "no range proof was given for this chunk's group"
        try:
            points = [parse_record(self.solution[chunk])[1] for chunk in self.groups[group]]
            given = self.backend.points(proof, self.p.range_group)
        except PointError as error:
            return str(error)
        points += [curve.IDENTITY] * (self.p.range_group - len(points))
        ones = self._ones["range"]
        if [curve.to_affine(point + ones) for point in points] != given:
            return "the range proof commits to other digits than the log does"
        if not self.backend.verify("range", self.release.range, proof):
            return "the range proof does not hold: v or e is out of range"
        return None


def verify_claim(
    case: Case, backend: Backend, progress: Callable[[int, int], None] | None = None, jobs: int = 1
) -> Verification:
    """Check one claim whole, in `jobs` processes. What is wrong with the claim becomes a failure with its reason.

    The outcome does not depend on `jobs`. Raises CircuitError when the verifier's own files are at fault,
    VerifierBroke when a process died or hung: then nothing is known about the claim.
    """
    curve.basis(case.release.relation.srs, Layout(case.release.predicate.parameters, case.total).commit_rows)
    start, out = time.monotonic(), Verification()
    if case.other_tensors != case.claim_other_tensors:
        out.failures[None] = "a tensor outside the mask's targets changed"
    try:
        verifier = Verifier(case, backend)
    except CircuitError:
        raise  # the verifier's own files are at fault, not the claim
    except ProverError as error:
        _note(out.failures, [None], str(error))
        return out
    _check_untouched(verifier, out)
    _check_proofs(verifier, out, progress or (lambda _done, _total: None), jobs)
    out.seconds = time.monotonic() - start
    return out


def _check_untouched(verifier: Verifier, out: Verification) -> None:
    """Step 2."""
    for chunk in range(verifier.layout.chunks):
        if chunk not in verifier.masked:
            out.untouched += 1
            if verifier.weights[chunk] != verifier.claimed[chunk]:
                out.failures[chunk] = "its weights changed although none of them is masked"


def _check_proofs(verifier: Verifier, out: Verification, progress: Callable[[int, int], None], jobs: int) -> None:
    """Steps 3 to 5."""
    items, bundle = verifier.items(), verifier.bundle
    total = len(verifier.drawn) + len(verifier.groups)
    found = combining.check(verifier, items, lambda done: progress(total - len(items) + done, total), jobs)
    for chunk in verifier.drawn:
        missing = chunk not in bundle.relations
        _note(out.failures, [chunk], verifier.check_relation(chunk) if missing else found.get(("relation", chunk)))
    for group, chunks in enumerate(verifier.groups):
        missing = group not in bundle.ranges
        _note(out.failures, chunks, verifier.check_range(group) if missing else found.get(("range", group)))
    out.touched, out.proved = len(verifier.touched), len(verifier.drawn)


def _note(failures: dict[int | None, str], chunks: Sequence[int | None], reason: str | None) -> None:
    for chunk in chunks if reason else ():
        failures[chunk] = f"{failures[chunk]}; {reason}" if chunk in failures else str(reason)


def _masked(case: Case, layout: Layout) -> Mapping[int, list[int]]:
    try:
        total, indices = parse_mask(case.mask)
    except UnlearningError as error:
        raise ProverError(f"the mask cannot be read: {error}") from error
    if total != case.total:
        raise ProverError(f"the mask is for {total} weights; the model release has {case.total}")
    return layout.masked_rows(indices)


def _bundle(data: bytes, drawn: list[int], groups: int) -> ProofBundle:
    bundle = parse_bundle(data)
    for what, given, wanted in (("", bundle.relations, drawn), ("range ", bundle.ranges, range(groups))):
        extra = sorted(set(given) - set(wanted))
        if extra:
            raise ProverError(f"the bundle holds {what}proof {extra[0]}, which nothing asks for")
    return bundle
