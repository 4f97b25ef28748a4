"""Training by gradient descent: the global model from scratch, and a client's full fine-tuning of it."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

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
    weight_decay: float = 0.05,
) -> list[float]:
    """Train all parameters in place with AdamW on cross-entropy; returns the mean loss of every epoch.

    x (n, channels, height, width) float32, y (n,) int64. The learning rate `lr` falls to zero along a cosine.
    The order of the samples depends on `seed` alone, so a run repeats exactly on the same machine.
    Raises DatasetError for no samples, UnlearningError subclasses for nonsensical settings or a diverging loss.
    """
    inputs, labels = torch.as_tensor(x), torch.as_tensor(y)
    if len(labels) == 0 or len(inputs) != len(labels):
        raise DatasetError(f"got {len(inputs)} images and {len(labels)} labels, expected as many of both, not zero")
    if epochs < 1 or not lr > 0:
        raise DatasetError(f"got {epochs} epochs at learning rate {lr}, expected at least 1 and more than 0")
    report = progress or silent
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=weight_decay)
    losses = []
    model.train()
    for epoch in range(epochs):
        for group in optimizer.param_groups:
            group["lr"] = lr * 0.5 * (1 + math.cos(math.pi * epoch / epochs))
        order = torch.randperm(len(labels), generator=generator)
        losses.append(_epoch(model, optimizer, inputs[order], labels[order], batch))
        if not math.isfinite(losses[-1]):
            raise DatasetError(f"the loss became {losses[-1]} in epoch {epoch + 1}; lower the learning rate {lr}")
        report((epoch + 1) / epochs, f"epoch {epoch + 1} of {epochs}, loss {losses[-1]:.3f}")
    model.eval()
    return losses


def _epoch(
    model: nn.Module, optimizer: torch.optim.Optimizer, inputs: Tensor, labels: Tensor, batch: int
) -> float:
    total = 0.0
    for images, truth in zip(inputs.split(batch), labels.split(batch), strict=True):
        loss = functional.cross_entropy(model(images), truth)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        total += float(loss.detach()) * len(truth)
    return total / len(labels)
