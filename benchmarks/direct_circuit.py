"""The relation of docs/protocol.md, section 1, wholly inside a circuit: what the sketched one is compared with.

Committed: w, m̄, Ĝ and v of a few blocks; w' and the looked-up residuals come out, committed as well. Everything is
computed in the circuit, w' = m̄∘(w - vĜ) and e = Ĝ(w' - w) - d·v, and each e passes a table lookup.
"""

from __future__ import annotations

import json
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import ezkl
import torch
from torch import Tensor, nn

from ledger.statements.predicates.circuit_release import CircuitParameters
from prover_worker.field import encode
from unlearning import lattice

_LOGROWS, _COLUMNS, _BLOCKS = 14, 2, 8  # at rank 17 this fills the columns


class Direct(nn.Module):
    """Shapes: w and kept (blocks, B), factors (blocks, r, B), v (blocks, r)."""

    def __init__(self, damping: int) -> None:
        super().__init__()
        self.damping = float(damping)

    def forward(self, w: Tensor, kept: Tensor, factors: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return w' and the looked-up residuals."""
        new = (w - torch.einsum("bn,bni->bi", v, factors)) * kept
        e = torch.einsum("bni,bi->bn", factors, new - w) - v * self.damping
        return new, torch.tanh(e)


def cpu_ms_per_weight(p: CircuitParameters, seed: int = 0) -> float:
    """Prove and verify one chunk of the direct circuit; CPU milliseconds per weight, keys not counted."""
    values = _witness(p, seed)
    with tempfile.TemporaryDirectory(prefix="direct-") as name:
        files = {part: str(Path(name) / part) for part in ("onnx", "set", "run", "vk", "pk", "srs", "in", "w", "p")}
        _compile(p, values, files)
        Path(files["in"]).write_text(json.dumps({"input_data": [encode(part.ravel().tolist()) for part in values]}))
        start = time.process_time()
        ezkl.gen_witness(files["in"], files["run"], files["w"], files["vk"], files["srs"])
        ezkl.prove(files["w"], files["run"], files["pk"], files["p"], files["srs"])
        seconds = time.process_time() - start
        if not ezkl.verify(files["p"], files["set"], files["vk"], files["srs"]):
            raise AssertionError("the direct circuit's proof does not verify")
    return 1000 * seconds / (_BLOCKS * p.block_size)


def _witness(p: CircuitParameters, seed: int) -> list[Tensor]:
    """w, m̄, Ĝ and the prescribed v, as integers."""
    generator = torch.Generator().manual_seed(seed)
    w = (torch.randn(_BLOCKS, p.block_size, generator=generator) * 0.02 * 2**p.grid_bits).round().long()
    factors = (torch.randn(_BLOCKS, p.multipliers, p.block_size, generator=generator) * 3).round().long()
    mask = torch.rand(_BLOCKS, p.block_size, generator=generator) < 0.2
    return [w, (~mask).long(), factors, lattice.solve(w, factors, mask, p.damping).v]


def _compile(p: CircuitParameters, values: list[Tensor], files: dict[str, str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        examples = tuple(part.float() for part in values)
        torch.onnx.export(Direct(p.damping), examples, files["onnx"], opset_version=17, dynamo=False)
    arguments: Any = ezkl.PyRunArgs()
    arguments.input_visibility = arguments.output_visibility = "polycommit"
    arguments.param_visibility, arguments.scale_rebase_multiplier = "fixed", 100
    arguments.input_scale = arguments.param_scale = 0
    arguments.logrows, arguments.num_inner_cols = _LOGROWS, _COLUMNS
    arguments.ignore_range_check_inputs_outputs = arguments.disable_freivalds = True
    arguments.decomp_base, arguments.decomp_legs = 128, 2
    end = _COLUMNS << (_LOGROWS - 1)
    arguments.lookup_range = (-end, end - end // 8 - 1)
    ezkl.gen_settings(files["onnx"], files["set"], arguments)
    settings = json.loads(Path(files["set"]).read_text())
    settings["num_rows"] = min(settings["num_rows"], (1 << _LOGROWS) - 16)
    settings["total_assignments"] = settings["num_rows"] * _COLUMNS
    Path(files["set"]).write_text(json.dumps(settings))
    ezkl.compile_circuit(files["onnx"], files["run"], files["set"])
    ezkl.gen_srs(files["srs"], _LOGROWS)
    ezkl.setup(files["run"], files["vk"], files["pk"], files["srs"], disable_selector_compression=True)
