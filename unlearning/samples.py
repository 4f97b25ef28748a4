"""Labelled images as tensors, checked against the model that is to see them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from unlearning.errors import DatasetError


def for_model(model: nn.Module, x: np.ndarray | Tensor, y: np.ndarray | Tensor) -> tuple[Tensor, Tensor]:
    """Images (n, channels, height, width) and labels (n,) as tensors, after a trial run of the first image.

    Raises DatasetError for no samples, unequal numbers, images the model does not take, or labels it does not
    know.
    """
    inputs, labels = torch.as_tensor(x), torch.as_tensor(y)
    if len(labels) == 0 or len(inputs) != len(labels):
        raise DatasetError(f"got {len(inputs)} images and {len(labels)} labels, expected as many of both, not zero")
    training = model.training
    model.eval()  # so that the trial run changes no running statistics
    try:
        with torch.no_grad():
            classes = model(inputs[:1]).shape[-1]
    except (RuntimeError, AssertionError) as error:
        shape = tuple(inputs.shape[1:])
        raise DatasetError(
            f"the model does not take images {shape}: {error}; use the data it was made for"
        ) from error
    finally:
        model.train(training)
    if int(labels.min()) < 0 or int(labels.max()) >= classes:
        raise DatasetError(
            f"labels run from {int(labels.min())} to {int(labels.max())}, expected 0 to {classes - 1}"
        )
    return inputs, labels
