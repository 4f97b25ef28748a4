"""`make bench B=unlearning`: curvature, mask and compensation at the size of ViT-B/16, beside their baselines.

timm's vit_base_patch16_224 with random weights: 28.3 million target weights, 442,368 blocks of 64. The images are
scikit-learn's digits, enlarged to 224 x 224 in three channels. Each phase runs in a process of its own, so that its
peak of memory is its own, and leaves its results under var/bench/unlearning; `--again` forgets them. Nothing is
extrapolated but the baselines, which take a sample of the blocks:

- curvature: integer factors of rank 8 from 256 samples, streamed. Held at once, the gradients of single samples
  would take 29 GB and the Gram matrices of all blocks 7.2 GB: that is the baseline for memory.
- mask: gradients of 256 samples to forget and 512 to keep, the authors' ratio score, 4 % of all weights.
- compensation: all blocks in integers. Baselines: the same algebra block by block, in torch and in numpy, and
  the paper's own system on the unmasked weights of whole blocks, by numpy. Blocks without a masked weight need no
  algebra, and the operator leaves them out: so does a second loop in torch, and the operator is measured once more
  under a mask that leaves out none.

The bars: curvature under 20 minutes and 8 GB, the mask under 20 minutes, compensation under 60 seconds and at least
50 times as fast as the same algebra in torch block by block. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional

from unlearning import backbones, datasets, gradients, lattice, maskfile, masks, recipe

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "var" / "bench" / "unlearning"
VIT = {"library": "timm", "model": "vit_base_patch16_224", "num_classes": 10}
SIZE, RANK, LIMIT, DAMPING, GRID_BITS = 64, 8, 31, 1024, 22
SAMPLES, RETAINED, BUDGET, FORGOTTEN = 256, 512, 0.04, 8
LOOPED = 3000  # blocks in the samples that baselines take


def main() -> None:
    """Run what has no result yet, each phase in a process of its own, then print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.unlearning")
    parser.add_argument("--phase", choices=list(PHASES))
    parser.add_argument("--again", action="store_true", help="measure everything anew")
    options = parser.parse_args()
    if options.phase:
        _one(options.phase)
        return
    if options.again:
        shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True, exist_ok=True)
    for phase in PHASES:
        if not (FOLDER / f"{phase}.json").exists():
            print(f"{phase} ...", file=sys.stderr)
            subprocess.run([sys.executable, "-m", "benchmarks.unlearning", "--phase", phase], cwd=ROOT, check=True)
    _report({phase: json.loads((FOLDER / f"{phase}.json").read_text()) for phase in PHASES})


def _one(phase: str) -> None:
    """Run a phase here and keep its figures: written last, so that a phase cut short is run again."""
    start, cpu = time.perf_counter(), time.process_time()
    figures = PHASES[phase]()
    figures.setdefault("seconds", time.perf_counter() - start)
    figures["cpu_seconds"] = time.process_time() - cpu
    figures["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    partial = FOLDER / f"{phase}.part"
    partial.write_text(json.dumps(figures))
    partial.rename(FOLDER / f"{phase}.json")


def prepare() -> dict[str, Any]:
    """The model and the images, as files."""
    torch.manual_seed(0)
    model = backbones.build(VIT)
    backbones.save(FOLDER / "model.safetensors", model.state_dict())
    names = backbones.target_names(model)
    (FOLDER / "targets.json").write_text(json.dumps(names))
    train = datasets.load("digits").train
    forget = train.y == FORGOTTEN
    part = train.at(~forget)
    datasets.save_npz(FOLDER / "client.npz", _enlarged(part, SAMPLES))
    datasets.save_npz(FOLDER / "retain.npz", _enlarged(part, RETAINED))
    again = np.resize(np.flatnonzero(forget), SAMPLES)  # the class has 139 samples: some are taken twice
    datasets.save_npz(FOLDER / "forget.npz", _enlarged(train.at(again), SAMPLES))
    total = len(backbones.flatten_targets(model.state_dict(), names))
    return {"weights": total, "blocks": total // SIZE}


def _enlarged(part: datasets.Part, samples: int) -> datasets.Part:
    x = functional.interpolate(torch.from_numpy(part.x[:samples]), (224, 224), mode="bilinear")
    return datasets.Part(x.expand(-1, 3, -1, -1).clamp(0, 1).contiguous().numpy(), part.y[:samples])


def curvature() -> dict[str, Any]:
    """The client's factors, as it commits to them."""
    reached: list[float] = []
    start = time.perf_counter()

    def report(fraction: float, text: str) -> None:
        reached.append(time.perf_counter() - start)
        print(f"  {100 * fraction:5.1f} % after {reached[-1]:6.0f} s: {text}", file=sys.stderr)

    factors = recipe.curvature(
        VIT, FOLDER / "model.safetensors", FOLDER / "client.npz", _targets(), SIZE, RANK, LIMIT, SAMPLES, 0, report
    )
    seconds = time.perf_counter() - start
    np.save(FOLDER / "factors.npy", factors.numpy())
    passes = -(-SAMPLES // recipe.BATCH)
    return {"seconds": seconds, "gradient_seconds": reached[passes - 1]}


def mask() -> dict[str, Any]:
    """The provider's mask by the authors' score."""
    start = time.perf_counter()
    model = backbones.with_weights(VIT, backbones.load(FOLDER / "model.safetensors"))
    theta = backbones.flatten_targets(model.state_dict(), _targets())
    moments = [
        gradients.moments(model, *datasets.load_npz(FOLDER / f"{name}.npz"), _targets())
        for name in ("forget", "retain")
    ]
    scores = masks.SCORES["ratio"].compute(masks.Evidence(theta, *moments))
    indices = masks.select(scores, BUDGET)
    file = maskfile.format_mask(len(theta), indices)
    seconds = time.perf_counter() - start
    (FOLDER / "mask.bin").write_bytes(file)
    rows = masks.row_runs([tuple(model.get_parameter(name).shape) for name in _targets()], 0.25)
    by_row = maskfile.read_mask(maskfile.format_mask(len(theta), masks.select(scores, BUDGET, SIZE, rows)))
    read = maskfile.read_mask(file)
    return {
        "seconds": seconds,
        "masked": len(indices),
        "file_bytes": len(file),
        "touched": [len(read.touched), len(by_row.touched), read.chunks],
    }


def compensate() -> dict[str, Any]:
    """All blocks in integers, and a sample of them one by one."""
    state = backbones.load(FOLDER / "model.safetensors")
    w = lattice.to_grid(backbones.flatten_targets(state, _targets()), GRID_BITS).view(-1, SIZE)
    factors = torch.from_numpy(np.load(FOLDER / "factors.npy"))
    _, indices = maskfile.parse_mask((FOLDER / "mask.bin").read_bytes())
    gone = masks.as_bool(indices, w.numel()).view(-1, SIZE)
    everywhere = gone.clone()
    everywhere[:, 0] = True
    seconds, solved = _timed(lambda: lattice.solve(w, factors, gone, DAMPING))
    moved = gone.any(1)
    figures: dict[str, Any] = {
        "seconds": seconds,
        "largest_residual": int(solved.e.abs().max()),
        "moved": int(moved.sum()),
    }
    sample, only = torch.arange(LOOPED), moved.nonzero().squeeze(1)[:LOOPED]
    for name, loop, blocks in (
        ("torch", _torch_loop, sample),
        ("moved", _torch_loop, only),
        ("numpy", _numpy_loop, sample),
        ("dense", _dense_loop, sample),
    ):
        figures[f"{name}_loop_us"], new = _looped(loop, w[blocks], factors[blocks], gone[blocks])
        off = int((new - solved.w_new[blocks]).abs().max())
        assert off <= (0 if name != "dense" else LIMIT * RANK), f"the {name} loop disagrees by {off} grid steps"
    figures["everywhere_seconds"], solved = _timed(lambda: lattice.solve(w, factors, everywhere, DAMPING))
    figures["everywhere_loop_us"], new = _looped(_torch_loop, w[sample], factors[sample], everywhere[sample])
    assert torch.equal(new, solved.w_new[sample]), "under the mask that touches all blocks, the loop disagrees"
    return figures


def _looped(loop: Callable[..., Tensor], *blocks: Tensor) -> tuple[float, Tensor]:
    """Microseconds a block, the middle of three runs, and the result."""
    taken = []
    for _ in range(3):
        start = time.perf_counter()
        new = loop(*blocks)
        taken.append(1e6 * (time.perf_counter() - start) / len(new))
    return sorted(taken)[1], new


def _timed(work: Callable[[], lattice.Solution]) -> tuple[float, lattice.Solution]:
    """Seconds, the middle of five runs after one to warm up, and the result."""
    found = work()
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return sorted(seconds)[2], found


def _torch_loop(w: Tensor, factors: Tensor, gone: Tensor) -> Tensor:
    """The operator of unlearning/lattice.py, one block at a time."""
    new, v, f, e = (torch.empty(len(w), width, dtype=torch.int64) for width in (SIZE, RANK, SIZE, RANK))
    damping = DAMPING * torch.eye(RANK, dtype=torch.float64)
    for b in range(len(w)):
        weights, G = w[b].double(), factors[b].double()
        kept = G * ~gone[b]
        pull = -(G @ (weights * gone[b])).unsqueeze(1)
        answer = torch.cholesky_solve(pull, torch.linalg.cholesky(kept @ kept.T + damping)).squeeze(1).round()
        flow = answer @ G
        after = torch.where(gone[b], 0.0, weights - flow)
        new[b], v[b], f[b], e[b] = after, answer, flow, G @ (after - weights) - DAMPING * answer
    return new


def _numpy_loop(w: Tensor, factors: Tensor, gone: Tensor) -> Tensor:
    """The same by numpy, whose calls cost less."""
    new, v, f, e = (np.empty((len(w), width), dtype=np.int64) for width in (SIZE, RANK, SIZE, RANK))
    all_w, all_g, all_m = w.numpy(), factors.numpy(), gone.numpy()
    damping = DAMPING * np.eye(RANK)
    for b in range(len(w)):
        weights, G = all_w[b].astype(np.float64), all_g[b].astype(np.float64)
        kept = G * ~all_m[b]
        answer = np.rint(np.linalg.solve(kept @ kept.T + damping, -(G @ (weights * all_m[b]))))
        flow = answer @ G
        after = np.where(all_m[b], 0.0, weights - flow)
        new[b], v[b], f[b], e[b] = after, answer, flow, G @ (after - weights) - DAMPING * answer
    return torch.from_numpy(new)


def _dense_loop(w: Tensor, factors: Tensor, gone: Tensor) -> Tensor:
    """ZK-APEX Eq. 14 on whole blocks: the unmasked weights solved for, without low rank, rounded at the end."""
    new = w.numpy().copy()
    all_g, all_m = factors.numpy().astype(np.float64), gone.numpy()
    for b in np.flatnonzero(all_m.any(axis=1)):
        C = all_g[b].T @ all_g[b] + DAMPING * np.eye(SIZE)
        kept, out = np.flatnonzero(~all_m[b]), np.flatnonzero(all_m[b])
        change = np.linalg.solve(C[np.ix_(kept, kept)], C[np.ix_(kept, out)] @ new[b, out].astype(np.float64))
        new[b, kept] += np.rint(change).astype(np.int64)
        new[b, out] = 0
    return torch.from_numpy(new)


PHASES: dict[str, Callable[[], dict[str, Any]]] = {
    "prepare": prepare,
    "curvature": curvature,
    "mask": mask,
    "compensate": compensate,
}


def _targets() -> list[str]:
    names: list[str] = json.loads((FOLDER / "targets.json").read_text())
    return names


def _report(found: dict[str, dict[str, Any]]) -> None:
    made, hidden, solved = found["curvature"], found["mask"], found["compensate"]
    blocks = found["prepare"]["blocks"]
    title = f"ViT-B/16, {found['prepare']['weights']:,} target weights, {blocks:,} blocks, {os.cpu_count()} cores"
    table = Table("", "seconds", "peak MB", "remarks", title=title)
    table.add_row(
        "curvature, 256 samples, rank 8",
        f"{made['seconds']:.0f}",
        f"{made['peak_mb']:.0f}",
        f"{made['gradient_seconds']:.0f} s of it gradients",
    )
    touched = hidden["touched"]
    table.add_row(
        "mask of 4 %, 256 + 512 samples",
        f"{hidden['seconds']:.0f}",
        f"{hidden['peak_mb']:.0f}",
        f"{hidden['file_bytes']:,} bytes for {hidden['masked']:,} positions",
    )
    table.add_row(
        "  chunks touched", "", "", f"{touched[0]} of {touched[2]}; by rows at density 0.25: {touched[1]}"
    )
    table.add_row("compensation, all blocks", f"{solved['seconds']:.2f}", f"{solved['peak_mb']:.0f}", "in integers")
    ratios = {}
    for name, text, blocks_done, ours in (
        ("torch", "same algebra, torch", blocks, solved["seconds"]),
        ("moved", "the same, untouched left out", solved["moved"], solved["seconds"]),
        ("numpy", "same algebra, numpy", blocks, solved["seconds"]),
        ("dense", "Eq. 14, numpy", blocks, solved["seconds"]),
        ("everywhere", "torch; mask touches all", blocks, solved["everywhere_seconds"]),
    ):
        seconds = solved[f"{name}_loop_us"] * blocks_done / 1e6
        ratios[name] = seconds / ours
        remark = f"{ratios[name]:.1f} times our {ours:.2f} s; extrapolated from {LOOPED} blocks"
        table.add_row(f"  block by block, {text}", f"{seconds:.1f}", "", remark)
    Console(width=130).print(table)
    figures = {
        "curvature_seconds": round(made["seconds"], 1),
        "curvature_peak_mb": round(made["peak_mb"]),
        "mask_seconds": round(hidden["seconds"], 1),
        "compensate_seconds": round(solved["seconds"], 2),
        "compensate_speedup_vs_loop": round(ratios["torch"], 1),
        "speedup_untouched_left_out": round(ratios["moved"], 1),
        "speedup_mask_touches_all": round(ratios["everywhere"], 1),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
