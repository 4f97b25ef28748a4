"""The run of `make bench B=vitb16` (see vitb16.py)."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

os.environ.setdefault("RAYON_NUM_THREADS", "1")  # processes, not threads: they share nothing to wait for

import numpy as np
import torch

from benchmarks import unlearning as vit
from benchmarks import usage
from ledger.tlog.checkpoint import Checkpoint
from prover_worker import challenge, release
from prover_worker.agent_progress import reporter
from prover_worker.agent_state import Folder
from prover_worker.bundle import format_bundle
from prover_worker.client import Agent
from prover_worker.client_base import Report
from prover_worker.ezkl_backend import EzklBackend
from prover_worker.layout import Layout
from prover_worker.profiles import PROFILES
from prover_worker.prove import ProofFolder
from prover_worker.verify import Case, verify_claim
from unlearning import backbones, lattice, maskfile, masks

ROOT: Final = vit.ROOT / "var" / "bench"
#: At rank 8 the same rows and columns hold 25,344 weights instead of 20,480, and a range proof six chunks.
PARAMETERS: Final = release.DEFAULTS.model_copy(update={"rank": vit.RANK, "blocks": 396, "range_group": 6})
_BUDGET, _DENSITY = 0.04, 0.201  # just below a fifth of the chunks is touched
_TRY = 5  # chunks of a try for each that is touched
_ANY: Final = "aa" * 32
_PAPER: Final = "the paper: 64 vCPU-hours of proving, 0.7 GB, 401.5 MB of proofs, 10 minutes of verification"


class Stages:
    """Seconds and peak memory of every stage, over all runs, in one file that is written after every part."""

    def __init__(self, folder: Folder, show: Report) -> None:
        self._folder, self._show, self._name = folder, show, ""
        self._kept: dict[str, Any] = folder.read_json("stages.json") if folder.has("stages.json") else {}
        self._since = (0.0, 0.0)

    def __getitem__(self, name: str) -> dict[str, Any]:
        return dict(self._kept[name])

    def run(self, name: str, function: Callable[[], dict[str, Any] | None]) -> None:
        """Run a stage unless it is over; what it returns is kept beside its seconds."""
        if self._kept.get(name, {}).get("over"):
            return
        self._name, self._since = name, (time.monotonic(), usage.cpu_seconds())
        self._keep(**(function() or {}), over=True)
        figures = self._kept[name]
        print(f"{name}: {figures['wall']:.0f} s, {figures['cpu']:.0f} s CPU, {figures['peak_mb']} MB", flush=True)

    def report(self, stage: str, done: int, total: int, at_once: int = 1) -> None:
        """What the agent's steps say of their progress."""
        self._show(stage, done, total, at_once)
        if self._name:
            self._keep()

    def _keep(self, **more: Any) -> None:
        wall, cpu = time.monotonic(), usage.cpu_seconds()
        before = self._kept.get(self._name, {"wall": 0.0, "cpu": 0.0, "peak_mb": 0})
        peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        self._kept[self._name] = before | more | {
            "wall": before["wall"] + wall - self._since[0],
            "cpu": before["cpu"] + cpu - self._since[1],
            "peak_mb": max(before["peak_mb"], peak // 1024),
        }  # fmt: skip
        self._since = (wall, cpu)
        self._folder.write_json("stages.json", self._kept)


class Run(Agent):
    """The agent's steps over a folder that was filled by hand instead of from a ledger."""

    def __init__(self, folder: Path, jobs: int, opened: release.Release, total: int, stages: Stages) -> None:
        edge = PROFILES["edge"].proofs_per_process
        super().__init__(folder, EzklBackend(), jobs, folder / "keys", stages.report, per_process=edge)
        self.opened, self.layout = opened, Layout(opened.predicate.parameters, total)
        self.attempt = self.state.sub("attempt")

    def prepare(self) -> None:
        """Grid weights, tempered factors and the mask."""
        p, total, kept = self.layout.parameters, self.layout.total, self.state.sub("commitment")
        targets = json.loads((vit.FOLDER / "targets.json").read_text())
        theta = backbones.flatten_targets(backbones.load(vit.FOLDER / "model.safetensors"), targets)[:total]
        factors = torch.from_numpy(np.load(vit.FOLDER / "factors.npy")[: total // p.block_size])
        factors = lattice.temper(factors, p.damping, self.opened.predicate.table_end)
        kept.write("seed", os.urandom(32))
        kept.write_arrays(
            "factors.npz", weights=lattice.to_grid(theta, p.grid_bits).numpy(), factors=factors.numpy()
        )
        scores = torch.rand(total, generator=torch.Generator().manual_seed(0))
        runs = masks.chunk_runs(total, self.layout.chunk_weights, _DENSITY)
        indices = masks.select(scores, _BUDGET, p.block_size, runs)
        self.attempt.write("mask.bin", maskfile.format_mask(total, indices))

    def commit_all(self) -> None:
        """Points of every chunk."""
        kept = self.state.sub("commitment")
        if not kept.has("curvature.points"):
            self._commit_chunks(kept, self.layout, self.opened)

    def solve_all(self) -> None:
        """Compensation of every touched chunk."""
        if not self.attempt.has("solution.npz"):
            self._compensate(self.attempt, self.layout)

    def claim_all(self) -> None:
        """Points of the claim."""
        if not self.attempt.has("solution.points"):
            self._commit_solution(self.attempt, self.layout, self.opened)

    def case(self, bundle: bytes) -> Case:
        """What the provider is given; the challenge follows from the claim's points."""
        kept, read = self.state.sub("commitment"), self.attempt.read
        leaf = hashlib.sha256(read("weights.points") + read("solution.points")).digest()
        checkpoint = Checkpoint("bench/ledger", 2, hashlib.sha256(leaf).digest())
        return Case(
            self.opened, self.layout.total, kept.read("weights.points"), kept.read("curvature.points"), _ANY,
            read("mask.bin"), read("weights.points"), read("solution.points"), _ANY, checkpoint, 1, leaf, bundle,
        )  # fmt: skip

    def make_keys(self) -> None:
        """Proving keys, made once."""
        self.opened.with_keys(self.backend, self.cache)

    def prove_all(self) -> dict[str, Any]:
        """Every touched chunk and its range group: the file bundle.bin."""
        case = self.case(b"")
        drawn = challenge.derive(self.layout.parameters, case.checkpoint, case.claim_index, case.claim_leaf)
        proofs = ProofFolder(self.attempt.file(f"proofs-{case.claim_leaf.hex()[:16]}"))
        keyed = self.opened.with_keys(self.backend, self.cache)
        made = format_bundle(self.make_bundle(self.attempt, keyed, self.layout, drawn, proofs))
        self.attempt.write("bundle.bin", made)
        peak = self.attempt.read_json("figures.json")["peak_mb"]
        return {"proving_peak_mb": round(peak), "bundle_mb": round(len(made) / 1e6, 3)}

    def verify_all(self) -> dict[str, Any]:
        """The provider's check."""
        found = verify_claim(
            self.case(self.attempt.read("bundle.bin")),
            self.backend,
            lambda done, total: self.report("verifying", done, total),
        )
        for chunk, reason in found.failures.items():
            print(f"chunk {chunk}: {reason}", file=sys.stderr)
        return {"accepted": found.accepted, "touched": found.touched, "chunks": self.layout.chunks}


def _opened(folder: Path) -> release.Release:
    """The circuit release, built once."""
    files = folder / "release"
    if not (files / "predicate.json").exists():
        predicate, _ = release.build(EzklBackend(), PARAMETERS, files)
        Folder(files).write("predicate.json", predicate.model_dump_json(by_alias=True).encode())
    predicate = release.CircuitRelease.model_validate_json((files / "predicate.json").read_bytes())
    return release.Release.open(predicate, {role: files / role for role in release.ROLES})


def _curvature() -> dict[str, float]:
    """The phases of the other benchmark that make model and factors; its seconds count as enrolment."""
    vit.FOLDER.mkdir(parents=True, exist_ok=True)
    for phase in ("prepare", "curvature"):
        if not (vit.FOLDER / f"{phase}.json").exists():
            print(f"{phase} ...", file=sys.stderr)
            command = [sys.executable, "-m", "benchmarks.unlearning", "--phase", phase]
            subprocess.run(command, cwd=vit.ROOT, check=True)
    found: dict[str, float] = json.loads((vit.FOLDER / "curvature.json").read_text())
    return found


def main() -> None:
    """Run every stage that is not over, then print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.vitb16")
    parser.add_argument("--chunks", type=int, help="a try: so many touched chunks, of five times as many")
    parser.add_argument("--jobs", type=int, default=2, help="processes at once")
    options = parser.parse_args()
    curvature = _curvature()
    folder = ROOT / ("vitb16" if options.chunks is None else f"vitb16-{options.chunks}")
    blocks = int(json.loads((vit.FOLDER / "prepare.json").read_text())["blocks"])
    if options.chunks is not None:
        blocks = min(blocks, options.chunks * _TRY * PARAMETERS.blocks)
    with reporter("bar") as show:
        stages = Stages(Folder(folder), show)
        opened = _opened(folder)
        run = Run(folder, options.jobs, opened, blocks * PARAMETERS.block_size, stages)
        for name, function in (
            ("prepare", run.prepare),
            ("commit", run.commit_all),
            ("compensate", run.solve_all),
            ("claim", run.claim_all),
            ("keys", run.make_keys),
            ("prove", run.prove_all),
            ("verify", run.verify_all),
        ):
            stages.run(name, function)
    _print(stages, curvature, options.jobs)


def _print(stages: Stages, curvature: dict[str, float], jobs: int) -> None:
    made, checked = stages["prove"], stages["verify"]
    names = ("prepare", "commit", "compensate", "claim", "keys", "prove", "verify")
    enrolled = curvature["seconds"] + stages["prepare"]["wall"] + stages["commit"]["wall"]
    weights = checked["touched"] * PARAMETERS.blocks * PARAMETERS.block_size
    print(_PAPER)
    result = {
        "enrol_minutes": round(enrolled / 60, 1),
        "touched_chunks": checked["touched"],
        "total_chunks": checked["chunks"],
        "prove_minutes": round(made["wall"] / 60, 1),
        "verify_seconds": round(checked["wall"], 1),
        "bundle_mb": made["bundle_mb"],
        "peak_mb": round(max(curvature["peak_mb"], *(stages[name]["peak_mb"] for name in names))),
        "proving_peak_mb": made["proving_peak_mb"],
        "accepted": checked["accepted"],
        "rank": PARAMETERS.rank,
        "jobs": jobs,
        "prove_cpu_ms_per_weight": round(1000 * made["cpu"] / weights, 3),
        "cpu_seconds": {name: round(stages[name]["cpu"], 1) for name in names},
        "wall_seconds": {name: round(stages[name]["wall"], 1) for name in names},
    }
    print(json.dumps(result))
