"""Cheaper methods that unlearning is compared with: gradient ascent and SCRUB.

Both take a model, the data and a seed, change the model in place and return it in evaluation
mode. The same seed gives the same model on the same machine. Exact retraining is `personalize.trained` without the
forget set, and the mask alone `backbones.masked`.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from unlearning import losses, samples
from unlearning.datasets import Part
from unlearning.errors import DatasetError
from unlearning.personalize import Training, expect_sense, one_epoch, optimiser


class Scrub(NamedTuple):
    """SCRUB's settings (Kurmanji et al. 2023, Eq. 3): `max_epochs` of `epochs` also push the forget set away.

    A min step lowers `distil` x KL(teacher || student) + `learn` x cross-entropy on retained data, both at
    `temperature`; a max step raises the KL on forgotten data.
    """

    epochs: int = 3
    max_epochs: int = 2
    lr: float = 1e-4
    batch: int = 64
    max_batch: int = 64
    distil: float = 1.0
    learn: float = 1.0
    temperature: float = 2.0


def gradient_ascent(model: nn.Module, forget: Part, how: Training, seed: int) -> nn.Module:
    """Train in place *up* the loss on the forget set; one epoch is what ZK-APEX compares with.

    Nothing holds the model back from ruin but a small learning rate and few epochs. Raises DatasetError for
    data that does not fit, settings without sense, or a model that the ascent has destroyed.
    """
    inputs, labels = samples.for_model(model, *forget)
    expect_sense(how.epochs, how.lr, how.batch)
    steps = how.epochs * math.ceil(len(labels) / how.batch)
    optimizer, schedule = optimiser(model, how.lr, steps, how.weight_decay)
    order = torch.Generator().manual_seed(seed)
    model.train()
    for _ in range(how.epochs):
        batches = _shuffled(inputs, labels, how.batch, order)
        _check_finite(-one_epoch(model, optimizer, schedule, batches, _negated), how.lr)
    return model.eval()


def scrub(model: nn.Module, forget: Part, retain: Part, how: Scrub, seed: int) -> nn.Module:
    """SCRUB in place: the model as it is teaches a copy of itself, on the forget set by its bad example.

    Every epoch has a pass over `retain` (min steps), the first `max_epochs` a pass over `forget` before it (max
    steps). Raises DatasetError for data that does not fit, settings without sense, or a model destroyed.
    """
    expect_sense(how.epochs, how.lr, min(how.batch, how.max_batch))
    if not 0 <= how.max_epochs <= how.epochs or not how.temperature > 0:
        raise DatasetError(
            f"got {how.max_epochs} max epochs of {how.epochs} at temperature {how.temperature}, "
            f"expected 0 to {how.epochs} and more than 0"
        )
    away = (*samples.for_model(model, *forget),)
    near = (*samples.for_model(model, *retain),)
    teacher = copy.deepcopy(model).eval()
    steps = how.epochs * math.ceil(len(near[1]) / how.batch)
    steps += how.max_epochs * math.ceil(len(away[1]) / how.max_batch)
    optimizer, schedule = optimiser(model, how.lr, steps, weight_decay=0.0)
    order = torch.Generator().manual_seed(seed)

    def push(student: nn.Module, inputs: Tensor, _: Tensor) -> Tensor:
        return -_distance(student(inputs), _taught(teacher, inputs), how.temperature)

    def hold(student: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
        logits = student(inputs)
        distance = _distance(logits, _taught(teacher, inputs), how.temperature)
        return how.distil * distance + how.learn * losses.per_sample(logits, labels).mean()

    model.train()
    for epoch in range(how.epochs):
        if epoch < how.max_epochs:
            one_epoch(model, optimizer, schedule, _shuffled(*away, how.max_batch, order), push)
        loss = one_epoch(model, optimizer, schedule, _shuffled(*near, how.batch, order), hold)
        _check_finite(loss, how.lr)
    return model.eval()


def _shuffled(
    inputs: Tensor, labels: Tensor, batch: int, generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    for chosen in torch.randperm(len(labels), generator=generator).split(batch):
        yield inputs[chosen], labels[chosen]


def _taught(teacher: nn.Module, inputs: Tensor) -> Tensor:
    with torch.no_grad():
        logits: Tensor = teacher(inputs)
    return logits


def _distance(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Mean over samples of KL(teacher || student) at a temperature, scaled by its square (Hinton et al. 2015)."""
    log_student, log_teacher = ((each / temperature).log_softmax(-1) for each in (student, teacher))
    gap = functional.kl_div(log_student, log_teacher, reduction="none", log_target=True).sum(-1)
    return gap.mean() * temperature**2


def _negated(model: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
    return -losses.per_sample(model(inputs), labels).mean()


def _check_finite(loss: float, lr: float) -> None:
    if not math.isfinite(loss):
        raise DatasetError(f"the loss became {loss}; lower the learning rate {lr}")
