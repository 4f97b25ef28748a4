"""Labelled samples as tensors, checked against the model that is to see them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from unlearning.errors import DatasetError


def for_model(model: nn.Module, x: np.ndarray | Tensor, y: np.ndarray | Tensor) -> tuple[Tensor, Tensor]:
    """Samples and labels as tensors, after a trial run of the first sample.

    Images (n, channels, height, width) come with one label each, (n,); token sequences (n, length) with the
    token that follows each position, (n, length).
    Raises DatasetError for no samples, unequal numbers, samples the model does not take, or labels it does not
    know.
    """
    inputs, labels = torch.as_tensor(x), torch.as_tensor(y)
    kind = "sequences" if inputs.ndim == 2 else "images"
    if len(labels) == 0 or len(inputs) != len(labels):
        raise DatasetError(f"got {len(inputs)} {kind} and {len(labels)} labels, expected as many of both, not zero")
    shape = trial_shape(model, inputs, kind)
    if labels.is_floating_point() or tuple(labels.shape[1:]) != shape[1:-1]:
        raise DatasetError(
            f"got {labels.dtype} labels {tuple(labels.shape)}, expected integers {(len(inputs), *shape[1:-1])}: "
            "one for each of the model's answers"
        )
    if int(labels.min()) < 0 or int(labels.max()) >= shape[-1]:
        raise DatasetError(
            f"labels run from {int(labels.min())} to {int(labels.max())}, expected 0 to {shape[-1] - 1}"
        )
    return inputs, labels


def trial_shape(model: nn.Module, inputs: Tensor, kind: str = "samples") -> tuple[int, ...]:
    """The shape of the model's logits for the first of `inputs`. Raises DatasetError where it refuses them."""
    training = model.training
    model.eval()  # so that the trial run changes no running statistics
    try:
        with torch.no_grad():
            return tuple(model(inputs[:1]).shape)
    except (RuntimeError, AssertionError, IndexError) as error:
        shape = tuple(inputs.shape[1:])
        raise DatasetError(
            f"the model does not take {kind} {shape}: {error}; use the data it was made for"
        ) from error
    finally:
        model.train(training)
