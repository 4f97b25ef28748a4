"""The measurement of `make bench B=prover` (see prover.py)."""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("RAYON_NUM_THREADS", "1")  # CPU time without threads that wait for each other

import hashlib

import numpy as np
import torch

from benchmarks import direct_circuit, usage
from ledger.statements.predicates.circuit_release import CircuitParameters
from ledger.tlog.checkpoint import Checkpoint
from prover_worker import challenge, commitments, curve, release
from prover_worker.bundle import format_bundle
from prover_worker.commitments import ChunkSecrets, ChunkSolution
from prover_worker.directing import ChunkDirections, read
from prover_worker.ezkl_backend import EzklBackend
from prover_worker.layout import Layout
from prover_worker.profiles import PROFILES
from prover_worker.prove import ChunkWitness, Figures, ProofFolder, prove_claim
from prover_worker.verify import Case, Verification, verify_claim
from unlearning import directionsfile, lattice, maskfile
from unlearning.obs import Directions

BACKEND = EzklBackend()
_MASKED = 0.2
_PUSH = 200
_ANY = "aa" * 32


@dataclass(frozen=True)
class Model:
    """Grid weights and factors of some whole chunks, a mask and its directions."""

    layout: Layout
    weights: np.ndarray
    factors: np.ndarray
    mask: np.ndarray
    directions: np.ndarray
    push: np.ndarray

    @classmethod
    def random(cls, p: CircuitParameters, chunks: int, table_end: int) -> Model:
        """Everything drawn from a fixed seed; factors tempered as the agent does it."""
        rng, blocks = np.random.default_rng(0), chunks * p.blocks
        mask = rng.random((blocks, p.block_size)) < _MASKED
        scales = np.linspace(12, 1, p.rank)[None, :, None]
        factors = np.rint(rng.normal(0, 1, (blocks, p.rank, p.block_size)) * scales)
        factors = np.clip(factors, -p.factor_limit, p.factor_limit).astype(np.int64)
        rows = rng.integers(-12, 13, (blocks, p.directions, p.block_size))
        return cls(
            Layout(p, blocks * p.block_size),
            np.rint(rng.normal(0, 0.02 * 2**p.grid_bits, (blocks, p.block_size))).astype(np.int64),
            lattice.temper(torch.from_numpy(factors), p.damping, table_end).numpy().astype(np.int64),
            mask,
            np.where(mask[:, None, :], 0, rows),
            np.full((blocks, p.directions), _PUSH),
        )

    def solve(self) -> dict[int, ChunkSolution]:
        """The prescribed operator, by chunk."""
        p = self.layout.parameters
        arrays = (self.weights, self.factors, self.mask, self.directions, self.push)
        w, g, m, u, c = (torch.from_numpy(array) for array in arrays)
        made = lattice.solve_directed(w, g, m, p.damping, Directions(u, c, p.damping))
        v, e = torch.cat([made.v, made.mu], 1), torch.cat([made.e, made.slack], 1)
        parts = [part.numpy().reshape(-1, p.blocks, part.shape[1]) for part in (made.w_new, made.f, v, e)]
        return {
            chunk: ChunkSolution(chunk, *columns, b"fresh" * 7)
            for chunk, columns in enumerate(zip(*parts, strict=True))
        }

    def secrets(self, chunk: int) -> ChunkSecrets:
        """One chunk of what a client keeps."""
        part = slice(chunk * self.layout.parameters.blocks, (chunk + 1) * self.layout.parameters.blocks)
        return ChunkSecrets(chunk, self.weights[part], self.factors[part], b"salt" * 8)

    def files(self) -> tuple[bytes, bytes]:
        """The mask's file and that of its directions."""
        mask = maskfile.format_mask(self.layout.total, np.flatnonzero(self.mask))
        made = directionsfile.DirectionsFile(
            np.arange(len(self.mask)), self.directions.astype(np.int8), self.push, self.layout.parameters.damping
        )
        return mask, directionsfile.format(made, mask)


@dataclass(frozen=True)
class Run:
    """A claim as the log would hold it, and everything that its proofs need."""

    model: Model
    opened: release.Release
    solutions: Mapping[int, ChunkSolution]
    case: Case
    drawn: challenge.Challenge

    @property
    def rows(self) -> dict[int, list[int]]:
        """Masked rows by chunk."""
        return self.model.layout.masked_rows(np.flatnonzero(self.model.mask))

    @property
    def steered(self) -> dict[int, ChunkDirections]:
        """Directions by chunk, as a prover reads them from their file."""
        return read(self.case.directions, self.case.mask, self.model.layout)


def claim(model: Model, opened: release.Release) -> Run:
    """Commit to model and solution, and draw the challenge."""
    layout, base = model.layout, opened.predicate.digit_base
    points = curve.basis(opened.relation.srs, layout.commit_rows)
    chunks, solutions = range(layout.chunks), model.solve()
    weights = b"".join(commitments.commit_weights(points, layout, model.secrets(c)) for c in chunks)
    curvature = b"".join(commitments.commit_curvature(points, layout, model.secrets(c)) for c in chunks)
    both = [commitments.commit_solution(points, layout, solutions[c], base) for c in chunks]
    claimed, solved = (b"".join(part) for part in zip(*both, strict=True))
    leaf = hashlib.sha256(claimed + solved).digest()
    checkpoint = Checkpoint("bench/ledger", 2, hashlib.sha256(leaf).digest())
    mask, directions = model.files()
    case = Case(
        opened, layout.total, weights, curvature, _ANY, mask, claimed, solved, _ANY, checkpoint, 1, leaf, b"",
        directions=directions,
    )  # fmt: skip
    return Run(model, opened, solutions, case, challenge.derive(layout.parameters, checkpoint, 1, leaf))


def prove(run: Run, folder: Path) -> tuple[bytes, Figures]:
    """All proofs, one after the other, as the profile `edge` has it. Figures with the CPU time of all processes."""
    steered, rows = run.steered, run.rows
    before = usage.ended_cpu_seconds()
    made, figures = prove_claim(
        BACKEND, run.opened, run.model.layout, sorted(rows),
        lambda c: ChunkWitness(run.model.secrets(c), run.solutions[c], rows[c], steered[c]),
        run.drawn, ProofFolder(folder), per_process=PROFILES["edge"].proofs_per_process,
    )  # fmt: skip
    figures.cpu_seconds = usage.ended_cpu_seconds() - before
    return format_bundle(made), figures


def verify(run: Run, bundle: bytes) -> Verification:
    """The provider's check of the whole claim, timed in CPU seconds; AssertionError unless it accepts."""
    case = Case(**{**vars(run.case), "bundle": bundle})
    verify_claim(case, BACKEND)  # what a process does once: reading SRS and keys
    start = time.process_time()
    found = verify_claim(case, BACKEND)
    found.seconds = time.process_time() - start
    if not found.accepted:
        raise AssertionError(f"the claim was rejected: {found.failures}")
    return found


def main() -> None:
    """Build, claim, prove, verify; a table and one JSON line."""
    parser = argparse.ArgumentParser(description="Benchmark of the prover.")
    parser.add_argument(
        "--chunks",
        type=int,
        default=15,
        help="in a claim (default 15: whole groups of range proofs); few of them bear its own share alone",
    )
    options = parser.parse_args()
    p = release.DEFAULTS.model_copy(update={"directions": 1})
    with tempfile.TemporaryDirectory(prefix="bench-prover-") as name:
        folder = Path(name)
        start = time.monotonic()
        opened = release.Release.open(*release.build(BACKEND, p, folder / "release"))
        opened = opened.with_keys(BACKEND, folder / "keys")
        print(f"release and keys: {time.monotonic() - start:.0f} s", flush=True)
        run = claim(Model.random(p, options.chunks, opened.predicate.table_end), opened)
        bundle, figures = prove(run, folder / "proofs")
        found = verify(run, bundle)
    weights = options.chunks * p.blocks * p.block_size
    each = 1000 * figures.cpu_seconds / weights
    direct = direct_circuit.cpu_ms_per_weight(p)
    print(f"proved {options.chunks} chunks: {figures.cpu_seconds:.0f} s CPU, {figures.wall_seconds:.0f} s wall")
    print(f"{'':24}{'sketched':>12}{'direct':>12}")
    print(f"{'CPU ms per weight':24}{each:12.2f}{direct:12.2f}")
    result = {
        "cpu_ms_per_weight": round(each, 3),
        "rank": p.rank,
        "directions": p.directions,
        "peak_mb": round(figures.peak_mb),
        "chunks": options.chunks,
        "weights_per_chunk": p.blocks * p.block_size,
        "proof_bytes_per_chunk": round(len(bundle) / options.chunks),
        "verify_ms_per_chunk": round(1000 * found.seconds / options.chunks, 1),
        "wall_ms_per_weight": round(1000 * figures.wall_seconds / weights, 3),
        "direct_cpu_ms_per_weight": round(direct, 2),
        "speedup_vs_direct": round(direct / each, 1),
    }
    print(json.dumps(result))
