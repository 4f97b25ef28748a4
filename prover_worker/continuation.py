r"""A later version of a model keeps its zeros: proved with the relation circuit, no other release needed.

A client commits anew to w and to the factors A, B. M are the weights that its accepted claims on this model have
set to zero. Per chunk that M touches the proof has the columns (docs/protocol.md, section 12)

    X = Y = w + γ Σ ρ_n A_n        H = D = J = Z = 0        tau = τ, tau_kept = τ without M, coefficients

and its output is zero exactly if, for a challenge drawn after the commitment was logged, w and every row of every
factor are zero on M. Zero factors there keep M at zero through every later order under this commitment, too.

The proofs of one commitment travel in one file:

    "unlearning-continuation/v2\n"
    u32 number of proofs, then for each, by ascending chunk:   u32 chunk, u32 length, packed proof
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ledger.tlog.checkpoint import Checkpoint
from prover_worker import combining, curve
from prover_worker.backend import Backend
from prover_worker.bundle import Section, format_section, parse_section
from prover_worker.challenge import Challenge, derive_continuation
from prover_worker.combining import Item, RowSums, draw_z
from prover_worker.commitments import ChunkSecrets, parse_record, split_records
from prover_worker.crew import Crew
from prover_worker.curve import IDENTITY, Point, linear
from prover_worker.errors import BundleError, CircuitError, PointError, ProverError
from prover_worker.field import R, Vector, combine
from prover_worker.layout import RELATION_COLUMNS, Layout, column_lengths
from prover_worker.prove import Figures, ProofFolder, made, measured
from prover_worker.release import Release
from prover_worker.verify import Verification
from unlearning.errors import UnlearningError
from unlearning.maskfile import parse_mask

Indices = NDArray[np.int64]
Progress = Callable[[int, int], None]

_MAGIC: Final = b"unlearning-continuation/v2\n"
_KIND: Final = "continuation"


def union(masks: Sequence[bytes], total: int) -> Indices:
    """Positions that any of the mask files masks, ascending. Raises ProverError for a file that does not fit."""
    found = []
    for data in masks:
        try:
            size, indices = parse_mask(data)
        except UnlearningError as error:
            raise ProverError(f"a mask cannot be read: {error}") from error
        if size != total:
            raise ProverError(f"a mask is for {size} weights; the model release has {total}")
        found.append(indices)
    return np.unique(np.concatenate(found)) if found else np.zeros(0, dtype=np.int64)


def columns(layout: Layout, secrets: ChunkSecrets, rows: Sequence[int], challenge: Challenge) -> list[Vector]:
    """The relation circuit's columns for one chunk whose weights `rows` are to be shown zero."""
    salt = layout.parameters.salt_rows
    h = combine(challenge.rho[: layout.parameters.rank], secrets.row_columns(salt))
    x = [(w + challenge.gamma * a) % R for w, a in zip(secrets.weight_column(salt), h, strict=True)]
    tau = challenge.tau()
    kept = list(tau)
    for row in rows:
        kept[row] = 0
    given = {"X": x, "Y": x, "tau": tau, "tau_kept": kept, "coefficients": challenge.coefficients()}
    return [given.get(name, [0] * length) for name, length in column_lengths(layout.parameters).items()]


def prove_chunk(
    backend: Backend, release: Release, layout: Layout, secrets: ChunkSecrets, rows: Sequence[int],
    challenge: Challenge,
) -> tuple[bytes, Figures]:  # fmt: skip
    """One chunk. Raises ProvingFailed. A false one yields a proof that verifies to another output than zero."""
    return measured(backend, release.relation, columns(layout, secrets, rows, challenge))


def prove(
    backend: Backend, release: Release, layout: Layout, rows: Mapping[int, Sequence[int]],
    secrets_of: Callable[[int], ChunkSecrets], challenge: Challenge, folder: ProofFolder, jobs: int,
    progress: Progress, per_process: int | None = None, crew: Crew | None = None,
) -> bytes:  # fmt: skip
    """Make every proof that is not in the folder yet; returns the file of all. `rows`: those to show, by chunk."""
    chunks = sorted(rows)
    missing = [(_KIND, chunk) for chunk in chunks if not folder.file(_KIND, chunk).exists()]

    def task(_kind: str, chunk: int) -> tuple[object, ...]:
        return prove_chunk, backend, release, layout, secrets_of(chunk), rows[chunk], challenge

    def columns_of(_kind: str, chunk: int) -> list[Vector]:
        return columns(layout, secrets_of(chunk), rows[chunk], challenge)

    done = len(chunks) - len(missing)
    progress(done, len(chunks))
    for item, proof, _ in made(missing, task, columns_of, release, challenge, jobs, per_process, crew):
        folder.write(*item, proof)
        done += 1
        progress(done, len(chunks))
    return format_continuation({chunk: folder.read(_KIND, chunk) for chunk in chunks})


def format_continuation(proofs: Section) -> bytes:
    """The file of a commitment's proofs by chunk; inverse of parse_continuation."""
    return _MAGIC + format_section(proofs)


def parse_continuation(data: bytes) -> Section:
    """Read such a file. Raises BundleError unless `data` is exactly one."""
    if not data.startswith(_MAGIC):
        raise BundleError(f"a continuation's proofs begin with {_MAGIC!r}; got {data[: len(_MAGIC)]!r}")
    proofs, offset = parse_section(data, len(_MAGIC))
    if offset != len(data):
        raise BundleError(f"{len(data) - offset} bytes follow the last proof; expected none")
    return proofs


@dataclass(frozen=True)
class ContinuationCase:
    """All public inputs, as raw bytes; digests and roots were checked by the caller. `masks`: those of M."""

    release: Release
    total: int
    weights: bytes
    curvature: bytes
    masks: Sequence[bytes]
    checkpoint: Checkpoint
    index: int
    leaf: bytes
    proofs: bytes


def verify_continuation(
    case: ContinuationCase,
    backend: Backend,
    progress: Progress = lambda _done, _total: None,
    jobs: int = 1,
) -> Verification:
    """Check the proofs of one commitment, in `jobs` processes; what is wrong becomes a failure with its reason.

    1. masks, point files and proofs are read strictly; 2. each chunk of M has one proof; 3. its first points are
    those computed from logged points, masks and challenge, all compared at once; 4. it holds with output zero.
    Raises CircuitError when the verifier's own files are at fault, VerifierBroke as `combining.check` does.
    """
    layout = Layout(case.release.predicate.parameters, case.total)
    curve.basis(case.release.relation.srs, layout.commit_rows)
    start, out = time.monotonic(), Verification()
    try:
        verifier = _Verifier(case, layout, backend)
    except CircuitError:
        raise
    except ProverError as error:
        out.failures[None] = str(error)
        return out
    out.touched, out.untouched = len(verifier.rows), layout.chunks - len(verifier.rows)
    items = verifier.items()
    given = len(verifier.rows) - len(items)
    found = combining.check(verifier, items, lambda done: progress(given + done, out.touched), jobs)
    for chunk in sorted(verifier.rows):
        reason = found.get(("relation", chunk)) if chunk in verifier.proofs else verifier.check(chunk)
        if reason is not None:
            out.failures[chunk] = reason
    out.proved = out.touched
    out.seconds = time.monotonic() - start
    return out


class _Verifier:
    def __init__(self, case: ContinuationCase, layout: Layout, backend: Backend) -> None:
        """Step 1. Raises ProverError naming what is malformed."""
        self.layout, self.backend, self.release = layout, backend, case.release
        self.rows = layout.masked_rows(union(case.masks, case.total))
        self.weights = split_records(case.weights, 1, layout.chunks, "committed weights")
        self.curvature = split_records(
            case.curvature, layout.points_per_curvature, layout.chunks, "committed curvature"
        )
        self.challenge = derive_continuation(layout.parameters, case.checkpoint, case.index, case.leaf)
        self.proofs = parse_continuation(case.proofs)
        extra = sorted(set(self.proofs) - set(self.rows))
        if extra:
            raise ProverError(f"a proof is given for chunk {extra[0]}, in which nothing was set to zero")
        self.basis = curve.basis(case.release.relation.srs, layout.commit_rows)

    @cached_property
    def tau(self) -> Vector:
        """τ, as a column."""
        return self.challenge.tau()

    @cached_property
    def ones(self) -> Point:
        """The constant of the unusable rows."""
        return self.basis.ones(self.release.predicate.relation.blinding_rows)

    @cached_property
    def public(self) -> dict[str, Point]:
        """Columns that are the same for all chunks."""
        return {
            "tau": self.basis.commit(self.tau),
            "coefficients": self.basis.commit(self.challenge.coefficients()),
        }

    def items(self) -> list[Item]:
        """The proofs that were given, with the points they are about."""
        return [self._item(chunk) for chunk in sorted(self.proofs)]

    def _item(self, chunk: int) -> Item:
        """`expected` without the SRS's part, as scalars of w and A_n; B_i must be points, and count nothing."""
        z, p = draw_z(len(RELATION_COLUMNS)), self.layout.parameters
        both = z[0] + z[1]
        scalars = [both, *(both * self.challenge.gamma * rho % R for rho in self.challenge.rho[: p.rank])]
        scalars += [0] * p.block_size
        return Item("relation", chunk, self.proofs[chunk], self.weights[chunk] + self.curvature[chunk], scalars, z)

    def row_sums(self) -> RowSums:
        """Where the SRS's parts are added up."""
        return RowSums(self.layout, self.challenge, self.basis)

    def include(self, rows: RowSums, item: Item) -> None:
        """Add the SRS's part of what a proof begins with: τ, τ∘m̄ and the coefficients; other columns have none."""
        rows.add_ones(self.release.predicate.relation.blinding_rows, sum(item.z))
        rows.add_tau(item.z[4], item.z[5], self.rows[item.number])
        rows.add_coefficients(item.z[8])

    def check_alone(self, item: Item) -> str | None:
        """What is wrong with one proof, by itself."""
        return self.check(item.number)

    def expected(self, chunk: int) -> list[Point]:
        """Step 3: the commitments of all columns. Columns of zeros have the identity. Raises PointError."""
        rank = self.layout.parameters.rank
        factors = parse_record(self.curvature[chunk])[:rank]
        x = parse_record(self.weights[chunk])[0] + linear(self.challenge.rho[:rank], factors) * self.challenge.gamma
        rows = self.rows[chunk]
        masked = linear([self.tau[row] for row in rows], [self.basis.points[row] for row in rows])
        points = {"X": x, "Y": x, **self.public, "tau_kept": self.public["tau"] + -masked}
        return [points.get(name, IDENTITY) for name in RELATION_COLUMNS]

    def check(self, chunk: int) -> str | None:
        """Steps 2 to 4 for one chunk: None, or the reason it fails."""
        proof = self.proofs.get(chunk)
        if proof is None:
            return "no proof was given for this chunk"
        try:
            expected = self.expected(chunk)
            given = self.backend.points(proof, len(expected))
        except PointError as error:
            return str(error)
        for name, want, got in zip(RELATION_COLUMNS, expected, given, strict=True):
            if curve.to_affine(want + self.ones) != got:
                return f"the proof commits to another {name} than the log does"
        if not self.backend.verify("relation", self.release.relation, proof):
            return "the proof does not show that what was set to zero is still zero"
        return None
