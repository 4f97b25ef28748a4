"""How well a model does."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from unlearning.errors import DatasetError


def accuracy(model: nn.Module, x: np.ndarray | Tensor, y: np.ndarray | Tensor, batch: int = 512) -> float:
    """Fraction of samples x (n, channels, height, width) whose highest logit is their label y (n,).

    Raises DatasetError when there is no sample.
    """
    inputs, labels = torch.as_tensor(x), torch.as_tensor(y)
    if len(labels) == 0 or len(inputs) != len(labels):
        raise DatasetError(f"got {len(inputs)} images and {len(labels)} labels, expected as many of both, not zero")
    training = model.training
    model.eval()
    with torch.no_grad():
        right = sum(
            int((model(images).argmax(dim=1) == truth).sum())
            for images, truth in zip(inputs.split(batch), labels.split(batch), strict=True)
        )
    model.train(training)
    return right / len(labels)
