"""Training by gradient descent: the global model from scratch, and a client's personalisation of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from unlearning import adapters, backbones, checkpoints, losses, samples
from unlearning.datasets import Part
from unlearning.errors import ArchitectureError, DatasetError
from unlearning.progress import Progress, silent

Batches = Iterable[tuple[Tensor, ...]]
Loss = Callable[..., Tensor]
Method = Literal["full", "lora", "adaptformer"]


class Training(NamedTuple):
    """How long and how fast to train; see `train`."""

    epochs: int
    lr: float
    batch: int = 64
    weight_decay: float = 0.3


class Personalisation(NamedTuple):
    """How a client makes the global model its own.

    `full` trains every weight. `lora` trains low-rank updates of linear layers, merged at the end, so the model
    keeps its form; `rank`, `alpha` and `modules` are LoRA's. `adaptformer` trains small networks beside the MLPs
    of a vision transformer, whose own weights stay the provider's; `bottleneck` and `scale` are AdaptFormer's.
    The last two also train the classifier `head`, where the model has one.
    """

    training: Training
    method: Method = "full"
    rank: int = 8
    alpha: float = 16.0
    modules: str = backbones.LORA_MODULES
    bottleneck: int = 16
    scale: float = 0.1
    head: bool = True


def personalise(
    model: nn.Module,
    data: Part,
    how: Personalisation,
    seed: int,
    progress: Progress | None = None,
    *,
    pinned: Mapping[str, Tensor] | None = None,
    checkpoint: Path | None = None,
) -> nn.Module:
    """A client's model, made from the global one (which is changed in place); arguments and errors as in `train`.

    Raises ArchitectureError also for a method that is unknown or does not fit the model.

    LoRA's updates know nothing of pins: pinned weights are set to zero again when the updates are merged.
    """
    pins = _pins(model, pinned or {})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # of new weights
        if how.method == "full":
            train(model, data, how.training, seed, progress, pinned=pins, checkpoint=checkpoint)
        elif how.method == "lora":
            update = backbones.Lora(model, how.rank, how.alpha, how.modules)
            _unfreeze_head(model, how.head)
            train(model, data, how.training, seed, progress, checkpoint=checkpoint)
            model = update.merge()
        elif how.method == "adaptformer":
            model.requires_grad_(False)
            for adapter in adapters.attach(model, how.bottleneck, how.scale):
                adapter.requires_grad_()
            _unfreeze_head(model, how.head)
            train(model, data, how.training, seed, progress, pinned=pins, checkpoint=checkpoint)
        else:
            raise ArchitectureError(f"got method {how.method!r}, expected full, lora or adaptformer")
    with torch.no_grad():
        for name, pin in pins.items():
            model.get_parameter(name).masked_fill_(pin, 0.0)
    return model.requires_grad_().eval()


def _unfreeze_head(model: nn.Module, wanted: bool) -> None:
    head = getattr(model, "head", None)
    if wanted and isinstance(head, nn.Module):
        head.requires_grad_()


def trained(
    architecture: Mapping[str, Any],
    data: Part,
    how: Training,
    seed: int,
    progress: Progress | None = None,
    *,
    checkpoint: Path | None = None,
) -> nn.Module:
    """A fresh model of an architecture, trained on `data` alone; its first weights are drawn from `seed` too.

    So the same seed without some samples is what exact retraining compares with. Raises what `backbones.build` and
    `train` raise.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = backbones.build(architecture)
    train(model, data, how, seed, progress, checkpoint=checkpoint)
    return model


def train(
    model: nn.Module,
    data: Part,
    how: Training,
    seed: int,
    progress: Progress | None = None,
    *,
    pinned: Mapping[str, Tensor] | None = None,
    checkpoint: Path | None = None,
) -> list[float]:
    """Train in place with AdamW on cross-entropy; returns the mean loss of every epoch.

    All parameters that require gradients are trained. The learning rate rises to `how.lr` over the first tenth
    of the steps and falls to zero along a cosine. The order of the samples and dropout depend on `seed` alone, so
    a run repeats exactly on the same machine.
    `pinned` maps names of weights to bool masks of their shape: where true, the weight is zero now and stays
    exactly zero. `checkpoint` is a file that the state is kept in after every epoch; a run that finds its own
    continues from there to the same result.
    Raises DatasetError for data that does not fit the model, settings without sense, a loss that diverges or
    another run's checkpoint; ArchitectureError for pins that do not fit.
    """
    inputs, labels = samples.for_model(model, *data)
    expect_sense(how.epochs, how.lr, how.batch)
    report = progress or silent
    pins = _pins(model, pinned or {})
    steps = how.epochs * math.ceil(len(labels) / how.batch)
    optimizer, schedule = optimiser(model, how.lr, steps, how.weight_decay)
    run = checkpoints.Run(model, optimizer, schedule, torch.Generator().manual_seed(seed))
    digest = ""
    if checkpoint is not None:
        held = (sorted(pins), *(pins[name] for name in sorted(pins)))
        settings = (how.epochs, how.lr, seed, how.batch, how.weight_decay, *held)
        digest = checkpoints.digest_of((*settings, inputs, labels, *model.state_dict().values()))
    with torch.random.fork_rng(devices=[]):  # dropout draws from the global generator
        torch.manual_seed(seed)
        mean_losses = checkpoints.resume(checkpoint, run, digest)
        model.train()
        for epoch in range(len(mean_losses), how.epochs):
            order = torch.randperm(len(labels), generator=run.order)
            batches = zip(inputs[order].split(how.batch), labels[order].split(how.batch), strict=True)
            total = one_epoch(model, optimizer, schedule, batches, _cross_entropy, pins)
            mean_losses.append(total / len(labels))
            if not math.isfinite(mean_losses[-1]):
                raise DatasetError(
                    f"the loss became {mean_losses[-1]} in epoch {epoch + 1}; lower the learning rate {how.lr}"
                )
            checkpoints.keep(checkpoint, run, digest, mean_losses)
            report((epoch + 1) / how.epochs, f"epoch {epoch + 1} of {how.epochs}, loss {mean_losses[-1]:.3f}")
    model.eval()
    return mean_losses


def expect_sense(epochs: int, lr: float, batch: int) -> None:
    """Raises DatasetError for settings of a training that make none."""
    if epochs < 1 or not lr > 0 or batch < 1:
        raise DatasetError(
            f"got {epochs} epochs at learning rate {lr} in batches of {batch}, "
            "expected at least 1, more than 0 and at least 1"
        )


def optimiser(
    model: nn.Module, lr: float, steps: int, weight_decay: float
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """AdamW over the weights that require gradients, with warm-up and cosine over `steps` steps."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=lr, weight_decay=weight_decay)
    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, steps))


def _rate(step: int, steps: int) -> float:
    """The learning rate of a step as a fraction of its highest value."""
    return min(1.0, (step + 1) / max(1.0, steps / 10)) * 0.5 * (1 + math.cos(math.pi * step / steps))


def one_epoch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    batches: Batches,
    loss_of: Loss,
    pins: Mapping[str, Tensor] | None = None,
) -> float:
    """One pass over `batches`; returns the sum of all samples' losses.

    `loss_of(model, *batch)` is the mean loss of a batch, whose first tensor has one row per sample.
    """
    total = 0.0
    held = [(model.get_parameter(name), pin) for name, pin in (pins or {}).items()]
    for batch in batches:
        loss = loss_of(model, *batch)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        for weight, pin in held:
            if weight.grad is not None:
                weight.grad.masked_fill_(pin, 0.0)  # so that no momentum builds up behind a pin
        optimizer.step()
        with torch.no_grad():
            for weight, pin in held:
                weight.masked_fill_(pin, 0.0)
        schedule.step()
        total += float(loss.detach()) * len(batch[0])
    return total


def _cross_entropy(model: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
    return losses.per_sample(model(inputs), labels).mean()


def _pins(model: nn.Module, pinned: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`pinned`, checked against the model. Raises ArchitectureError where a pin does not fit or is not zero yet."""
    weights = dict(model.named_parameters())
    for name, pin in pinned.items():
        if name not in weights:
            raise ArchitectureError(f"cannot pin {name!r}: the model has no such weight")
        if pin.dtype != torch.bool or pin.shape != weights[name].shape:
            raise ArchitectureError(
                f"the pin of {name} is {pin.dtype} {tuple(pin.shape)}, expected bool {tuple(weights[name].shape)}"
            )
        if bool(weights[name].detach()[pin].any()):
            raise ArchitectureError(f"a pinned weight of {name} is not zero; start from the unlearned model")
    return dict(pinned)
