"""Training by gradient descent: the global model from scratch, and a client's full fine-tuning of it."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from unlearning import samples
from unlearning.errors import DatasetError
from unlearning.progress import Progress, silent


def train(
    model: nn.Module,
    x: np.ndarray | Tensor,
    y: np.ndarray | Tensor,
    epochs: int,
    lr: float,
    seed: int,
    progress: Progress | None = None,
    *,
    batch: int = 64,
    weight_decay: float = 0.3,
) -> list[float]:
    """Train all parameters in place with AdamW on cross-entropy; returns the mean loss of every epoch.

    x (n, channels, height, width) float32, y (n,) int64. The learning rate rises to `lr` over the first tenth
    of the steps and falls to zero along a cosine. The order of the samples depends on `seed` alone, so a run
    repeats exactly on the same machine. Raises DatasetError for data that does not fit the
    model, settings without sense, or a loss that diverges.
    """
    inputs, labels = samples.for_model(model, x, y)
    if epochs < 1 or not lr > 0:
        raise DatasetError(f"got {epochs} epochs at learning rate {lr}, expected at least 1 and more than 0")
    report = progress or silent
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=weight_decay)
    steps = epochs * math.ceil(len(labels) / batch)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, steps))
    losses = []
    model.train()
    for epoch in range(epochs):
        order = torch.randperm(len(labels), generator=generator)
        batches = zip(inputs[order].split(batch), labels[order].split(batch), strict=True)
        losses.append(_epoch(model, optimizer, schedule, batches) / len(labels))
        if not math.isfinite(losses[-1]):
            raise DatasetError(f"the loss became {losses[-1]} in epoch {epoch + 1}; lower the learning rate {lr}")
        report((epoch + 1) / epochs, f"epoch {epoch + 1} of {epochs}, loss {losses[-1]:.3f}")
    model.eval()
    return losses


def _rate(step: int, steps: int) -> float:
    """The learning rate of a step as a fraction of its highest value."""
    return min(1.0, (step + 1) / max(1.0, steps / 10)) * 0.5 * (1 + math.cos(math.pi * step / steps))


def _epoch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    batches: Iterable[tuple[Tensor, Tensor]],
) -> float:
    """One pass over the data; returns the sum of all samples' losses."""
    total = 0.0
    for images, truth in batches:
        loss = functional.cross_entropy(model(images), truth)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        total += float(loss.detach()) * len(truth)
    return total
