"""Proving a claim: columns from secrets and challenge, one proof per chunk to prove, one per range group.

Every finished proof is a file in a folder that belongs to one challenge; a run that was killed goes on where it
stopped, and a folder of another challenge is never looked at.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from prover_worker import pool
from prover_worker.agent_state import Folder
from prover_worker.backend import Backend, CircuitFiles
from prover_worker.bundle import ProofBundle
from prover_worker.challenge import Challenge
from prover_worker.commitments import ChunkSecrets, ChunkSolution, check_digits
from prover_worker.crew import Crew, name_of
from prover_worker.directing import ChunkDirections, added
from prover_worker.field import R, Vector, combine
from prover_worker.layout import Layout, column_lengths
from prover_worker.memory import needed_bytes, peak_bytes
from prover_worker.release import Release
from prover_worker.work_run import circuit_of, item_name

Progress = Callable[[int, int], None]
#: Kind of a proof, and its chunk or the number of its group.
Item = tuple[str, int]


@dataclass
class Figures:
    """What proving cost: seconds of wall and CPU time over all processes, peak memory of one, in MB."""

    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_mb: float = 0.0
    proofs: int = 0

    def add(self, other: Figures) -> None:
        """Add one proof's figures; wall time is measured by the caller."""
        self.cpu_seconds += other.cpu_seconds
        self.peak_mb = max(self.peak_mb, other.peak_mb)
        self.proofs += other.proofs


@dataclass(frozen=True)
class ChunkWitness:
    """Everything private about one touched chunk."""

    secrets: ChunkSecrets
    solution: ChunkSolution
    masked_rows: list[int] = field(default_factory=list)
    directions: ChunkDirections | None = None


def relation_columns(layout: Layout, witness: ChunkWitness, challenge: Challenge, base: int) -> list[Vector]:
    """The nine columns of the relation circuit, in order (docs/protocol.md, "The relation")."""
    p, steered, salt = layout.parameters, witness.directions, layout.parameters.salt_rows
    w, u = witness.secrets.weight_column(salt), witness.solution.weight_column(salt)
    f = witness.solution.f_column(salt)
    h = combine(challenge.rho[: p.rank], witness.secrets.row_columns(salt))
    k = combine(challenge.sigma, witness.secrets.position_columns(salt, p.directions))
    digits = witness.solution.digit_column(base, salt, p.noise_rows)
    if steered is not None:
        h, k = added(h, steered.in_rows(challenge.rho[p.rank :])), added(k, steered.in_positions(challenge.sigma))
        digits = added(digits, steered.push_column())
    above = [0] * layout.factor_start
    j = added([challenge.beta * x % R for x in k], challenge.damped(p.damping))
    tau = challenge.tau()
    kept = list(tau)
    for row in witness.masked_rows:
        kept[row] = 0
    return [
        [(a + challenge.beta * b + challenge.gamma * c) % R for a, b, c in zip(u, f, h, strict=True)],
        [a - b for a, b in zip(w, f, strict=True)],
        h,
        [a - b for a, b in zip(u, w, strict=True)],
        tau,
        kept,
        above + j,
        added(digits, [challenge.gamma * x for x in above + k]),
        challenge.coefficients(),
    ]


def measured(backend: Backend, files: CircuitFiles, columns: list[Vector]) -> tuple[bytes, Figures]:
    """A proof, and what it cost."""
    start = time.process_time()
    proof = backend.prove(files, columns)
    return proof, Figures(cpu_seconds=time.process_time() - start, peak_mb=peak_bytes() / 2**20, proofs=1)


def prove_relation(
    backend: Backend, release: Release, layout: Layout, witness: ChunkWitness, challenge: Challenge
) -> tuple[bytes, Figures]:
    """One touched chunk. Raises ProvingFailed. A false claim yields a proof that does not hold."""
    columns = relation_columns(layout, witness, challenge, release.predicate.digit_base)
    return measured(backend, release.relation, columns)


def range_columns(release: Release, layout: Layout, solutions: list[ChunkSolution]) -> list[Vector]:
    """The columns of one group of chunks; missing ones are zeros. Raises ProvingFailed for a digit out of range."""
    p, base = layout.parameters, release.predicate.digit_base
    rows = 3 * layout.factor_rows
    columns = [solution.digit_column(base, p.salt_rows, p.noise_rows) for solution in solutions]
    for solution, column in zip(solutions, columns, strict=True):
        check_digits(column, rows, -base, release.predicate.table_end, solution.chunk)
    return columns + [[0] * column_lengths(p)["Z"]] * (p.range_group - len(columns))


def prove_range(
    backend: Backend, release: Release, layout: Layout, solutions: list[ChunkSolution]
) -> tuple[bytes, Figures]:
    """One group of chunks. Raises ProvingFailed for a digit out of range."""
    return measured(backend, release.range, range_columns(release, layout, solutions))


@dataclass(frozen=True)
class ProofFolder:
    """Finished proofs of one challenge on disk."""

    path: Path

    def file(self, kind: str, key: int) -> Path:
        """Where the proof of a chunk or group lies once it is finished."""
        return self.path / item_name(kind, key)

    def read(self, kind: str, key: int) -> bytes:
        """A finished proof."""
        return self.file(kind, key).read_bytes()

    def write(self, kind: str, key: int, proof: bytes) -> None:
        """A proof file is whole or absent. Raises AgentError when the disk is full."""
        Folder(self.path).write(self.file(kind, key).name, proof)


@dataclass(frozen=True)
class _Parts:
    """What a claim's proofs are made from, by kind and key: a chunk, or a group's number."""

    backend: Backend
    release: Release
    layout: Layout
    witness_of: Callable[[int], ChunkWitness]
    challenge: Challenge
    groups: list[list[int]]

    def task(self, kind: str, key: int) -> tuple[object, ...]:
        """A function and its arguments, for a process of this machine."""
        if kind == "relation":
            return prove_relation, self.backend, self.release, self.layout, self.witness_of(key), self.challenge
        return prove_range, self.backend, self.release, self.layout, self._solutions(key)

    def columns(self, kind: str, key: int) -> list[Vector]:
        """The columns, for another machine."""
        if kind == "relation":
            base = self.release.predicate.digit_base
            return relation_columns(self.layout, self.witness_of(key), self.challenge, base)
        return range_columns(self.release, self.layout, self._solutions(key))

    def _solutions(self, group: int) -> list[ChunkSolution]:
        return [self.witness_of(chunk).solution for chunk in self.groups[group]]


def prove_claim(
    backend: Backend,
    release: Release,
    layout: Layout,
    chunks: list[int],
    witness_of: Callable[[int], ChunkWitness],
    challenge: Challenge,
    folder: ProofFolder,
    jobs: int = 1,
    progress: Progress | None = None,
    per_process: int | None = None,
    crew: Crew | None = None,
) -> tuple[ProofBundle, Figures]:
    """Make every proof of `chunks` that is not in the folder yet, then read them all.

    `jobs` processes of this machine make them, or the client's other machines, if there is a crew. A range proof
    follows its last chunk, so what is left is made of the same parts as what is done, and takes as long. Proofs
    that are there already cost nothing and are not in the figures. Raises ProvingFailed; OutOfMemory and AgentError
    where memory or a disk do not suffice. Finished proofs are kept.
    """
    parts = _Parts(backend, release, layout, witness_of, challenge, layout.groups(chunks))
    wanted = list[Item]()
    for number, group in enumerate(parts.groups):
        wanted += [*(("relation", chunk) for chunk in group), ("range", number)]
    missing = [item for item in wanted if not folder.file(*item).exists()]
    figures, start = Figures(), time.monotonic()
    if progress:
        progress(len(wanted) - len(missing), len(wanted))
    for item, proof, one in made(missing, parts.task, parts.columns, release, challenge, jobs, per_process, crew):
        folder.write(*item, proof)
        figures.add(one)
        if progress:
            progress(len(wanted) - len(missing) + figures.proofs, len(wanted))
    figures.wall_seconds = time.monotonic() - start
    read = {item: folder.read(*item) for item in wanted}
    bundle = ProofBundle(
        {key: proof for (kind, key), proof in read.items() if kind == "relation"},
        {key: proof for (kind, key), proof in read.items() if kind == "range"},
    )
    return bundle, figures


def made(
    missing: Sequence[Item],
    task_of: Callable[[str, int], tuple[object, ...]],
    columns_of: Callable[[str, int], list[Vector]],
    release: Release,
    challenge: Challenge,
    jobs: int,
    per_process: int | None,
    crew: Crew | None,
) -> Iterator[tuple[Item, bytes, Figures]]:
    """Make proofs, on this machine or by the crew, in the order in which they are finished."""
    if not missing:
        return
    if crew is None:
        yield from _here(missing, task_of, jobs, per_process, needed_bytes(release.relation.pk))
    else:
        yield from _elsewhere(missing, columns_of, release, challenge, crew)


def _here(
    missing: Sequence[Item],
    task_of: Callable[[str, int], tuple[object, ...]],
    jobs: int,
    per_process: int | None,
    needs: int | None,
) -> Iterator[tuple[Item, bytes, Figures]]:
    """In processes of this machine."""
    tasks = (task_of(*item) for item in missing)
    for number, (proof, figures) in pool.run(_apply, tasks, jobs, per_process, needs=needs):
        yield missing[number], proof, figures


def _elsewhere(
    missing: Sequence[Item],
    columns_of: Callable[[str, int], list[Vector]],
    release: Release,
    challenge: Challenge,
    crew: Crew,
) -> Iterator[tuple[Item, bytes, Figures]]:
    """On the client's other machines."""
    items = {item_name(*item): item for item in missing}
    wanted = {name: (circuit_of(kind), partial(columns_of, kind, key)) for name, (kind, key) in items.items()}
    for name, proof, seconds, peak in crew.prove(name_of(release, challenge), release, wanted):
        yield items[name], proof, Figures(cpu_seconds=seconds, peak_mb=peak, proofs=1)


def _apply(function: Callable[..., tuple[bytes, Figures]], *arguments: object) -> tuple[bytes, Figures]:
    return function(*arguments)
