"""Gradients of the cross-entropy with respect to the target weights: autograd for measuring stays in here.

A gradient is one row over the flat vector of the targets: each target row-major, concatenated in order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from unlearning import losses, samples
from unlearning.errors import ArchitectureError


def per_sample(
    model: nn.Module, x: np.ndarray | Tensor, y: np.ndarray | Tensor, names: Sequence[str], batch: int = 32
) -> Iterator[Tensor]:
    """Yield the gradients of single samples' losses, (n, total) with n at most `batch`, in sample order.

    x (samples, channels, height, width), y (samples,). The model is used in evaluation mode. One batch holds
    batch x total floats: lower `batch` for large models.
    Raises DatasetError for samples that do not fit the model, ArchitectureError for an unknown target.
    """
    inputs, labels = samples.for_model(model, x, y)
    targets, frozen = _split(model, names)
    model.eval()

    def loss(weights: dict[str, Tensor], image: Tensor, truth: Tensor) -> Tensor:
        logits = functional_call(model, {**frozen, **weights}, (image.unsqueeze(0),))
        return losses.per_sample(logits, truth.unsqueeze(0)).sum()

    gradient = vmap(grad(loss), in_dims=(None, 0, 0))
    for images, truth in zip(inputs.split(batch), labels.split(batch), strict=True):
        with sdpa_kernel(SDPBackend.MATH):  # the fused kernels have no batching rule
            rows = gradient(targets, images, truth)
        yield torch.cat([rows[name].reshape(len(truth), -1) for name in names], dim=1)


def mean_gradient(
    model: nn.Module, x: np.ndarray | Tensor, y: np.ndarray | Tensor, names: Sequence[str], batch: int = 256
) -> Tensor:
    """The gradient (total,) of the mean loss over all samples; arguments and errors as in per_sample."""
    inputs, labels = samples.for_model(model, x, y)
    targets, frozen = _split(model, names)
    model.eval()
    leaves = {name: tensor.clone().requires_grad_() for name, tensor in targets.items()}
    total = torch.zeros(sum(leaf.numel() for leaf in leaves.values()))
    for images, truth in zip(inputs.split(batch), labels.split(batch), strict=True):
        logits = functional_call(model, {**frozen, **leaves}, (images,))
        loss = losses.per_sample(logits, truth).sum()
        parts = torch.autograd.grad(loss, [leaves[name] for name in names])
        total += torch.cat([part.reshape(-1) for part in parts])
    return total / len(labels)


def _split(model: nn.Module, names: Sequence[str]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The target tensors and everything else the model holds, detached."""
    tensors = {name: tensor.detach() for name, tensor in (*model.named_parameters(), *model.named_buffers())}
    missing = [name for name in names if name not in tensors]
    if missing or not names:
        raise ArchitectureError(f"targets {missing!r} are not among the weights; take names from target_names")
    targets = {name: tensors.pop(name) for name in names}
    return targets, tensors
