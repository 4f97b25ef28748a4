"""`make bench B=demo`: the whole demonstration, timed, beside the same work without any accountability.

The baseline does what a client does for an order when nobody checks: the same integer compensation of the same
committed model under the same mask, read from the demonstration's own files. The ratio is the price of proof.
The paper's figure for ViT-B/16 (64 vCPU-hours for 28.3 M target weights) is printed for orientation only: another
machine, another model. The last line is JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from unlearning import lattice, masks
from unlearning.maskfile import parse_mask

ROOT = Path(__file__).resolve().parent.parent
PAPER_CPU_MS_PER_WEIGHT = 64 * 3600 * 1000 / 28.3e6
ROUNDS = 20


def main() -> None:
    """Run a fresh demonstration in a folder of its own, then the baseline on what it left."""
    with tempfile.TemporaryDirectory(prefix="bench-demo-") as folder:
        environment = {**os.environ, "LEDGER_DATA_DIR": folder}
        command = [sys.executable, "manage.py", "demo", "--cheat", "all"]
        done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=False)
        sys.stdout.write(done.stdout)
        if done.returncode:
            sys.exit(done.returncode)
        figures = json.loads(done.stdout.splitlines()[-1])
        clients = sorted(Path(folder).glob("demo/run-*/client-1/agent"))
        figures["unproved_cpu_ms_per_weight"] = round(unproved(clients[-1]), 6)
    ours, plain = figures["prove_cpu_ms_per_weight"], figures["unproved_cpu_ms_per_weight"]
    table = Table("", "CPU-ms per weight", "times unproved", title="The price of proof")
    table.add_row("compensation nobody checks (measured here)", f"{plain:.5f}", "1")
    table.add_row("compensation with proof (measured here)", f"{ours:.3f}", f"{ours / plain:,.0f}")
    table.add_row("the paper's figure, ViT-B/16 on its machine", f"{PAPER_CPU_MS_PER_WEIGHT:.2f}", "")
    Console(width=100).print(table)
    print(json.dumps(figures))


def unproved(agent: Path) -> float:
    """CPU milliseconds per weight of the compensation alone, best of several rounds."""
    kept = np.load(agent / "commitment" / "factors.npz", allow_pickle=False)
    release = json.loads((agent / "release" / "circuit.json").read_text())["parameters"]
    size = release["blockSize"]
    total, indices = parse_mask(next(agent.glob("orders/*/1/mask.bin")).read_bytes())
    mask = masks.as_bool(indices, total)
    weights = torch.from_numpy(kept["weights"]).reshape(-1, size)
    factors = torch.from_numpy(kept["factors"])
    times = []
    for _ in range(ROUNDS):
        start = time.process_time()
        lattice.solve(weights, factors, mask.reshape(-1, size), release["damping"])
        times.append(time.process_time() - start)
    return 1000 * min(times) / total


if __name__ == "__main__":
    main()
