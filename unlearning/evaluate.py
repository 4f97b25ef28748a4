"""How well a model does."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from unlearning import samples


def accuracy(model: nn.Module, x: np.ndarray | Tensor, y: np.ndarray | Tensor, batch: int = 512) -> float:
    """Fraction of samples x (n, channels, height, width) whose highest logit is their label y (n,).

    Raises DatasetError for no samples, or samples that do not fit the model.
    """
    inputs, labels = samples.for_model(model, x, y)
    training = model.training
    model.eval()
    with torch.no_grad():
        right = sum(
            int((model(images).argmax(dim=1) == truth).sum())
            for images, truth in zip(inputs.split(batch), labels.split(batch), strict=True)
        )
    model.train(training)
    return right / len(labels)
