"""The state of a training run in a file, so that an interrupted run ends as if it had not been.

A file holds model, optimiser, schedule, the generators of sample order and dropout, the losses so far, and a
digest of the settings and the data: a run never continues another one's.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from unlearning.errors import DatasetError


class Run(NamedTuple):
    """All that changes while a model is trained, beside the global generator (dropout)."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    order: torch.Generator


def resume(path: Path | None, run: Run, digest: str) -> list[float]:
    """Put the state kept at `path` into `run`, and return its losses by epoch; [] where there is none.

    `digest` is that of the run's settings, data and first weights. Raises DatasetError for a file of another run,
    or one that cannot be read.
    """
    if path is None or not path.exists():
        return []
    if not zipfile.is_zipfile(path):
        raise DatasetError(f"the checkpoint {path} is damaged; delete it to start anew")
    kept = torch.load(path, weights_only=True)
    if not isinstance(kept, dict) or kept.get("digest") != digest:
        raise DatasetError(
            f"the checkpoint {path} is of a run with other settings, data or first weights; "
            "delete it, or name another"
        )
    run.model.load_state_dict(kept["model"])
    run.optimizer.load_state_dict(kept["optimizer"])
    run.schedule.load_state_dict(kept["schedule"])
    run.order.set_state(kept["order"])
    torch.random.set_rng_state(kept["dropout"])
    return list(kept["losses"])


def keep(path: Path | None, run: Run, digest: str, losses: list[float]) -> None:
    """Write the state of `run`, and its losses by epoch, to `path`, whole or not at all; nothing without a path."""
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".part")
    state = {
        "digest": digest,
        "model": run.model.state_dict(),
        "optimizer": run.optimizer.state_dict(),
        "schedule": run.schedule.state_dict(),
        "order": run.order.get_state(),
        "dropout": torch.random.get_rng_state(),
        "losses": losses,
    }
    torch.save(state, beside)
    beside.replace(path)


def digest_of(values: Iterable[Any]) -> str:
    """SHA-256 over the values: tensors by shape, type and content, all others by what they print as."""
    digest = hashlib.sha256()
    for value in values:
        if isinstance(value, Tensor):
            digest.update(f"{value.dtype} {tuple(value.shape)}\n".encode())
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
        else:
            digest.update(f"{value!r}\n".encode())
    return digest.hexdigest()
