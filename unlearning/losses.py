"""What this package trains on, measures and differentiates: the cross-entropy of classes and of next tokens.

Classification: logits (n, classes), labels (n,). Language models: logits (n, length, vocabulary), labels (n,
length) that hold the token which follows each position. A sequence is one sample; its loss is the mean over
its positions, in nats.

Beside it, minus the probability of the right answer. Where cross-entropy listens most to samples that a model gets
wrong anyway, its gradient listens to those on the edge, whose answers a step changes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from torch import Tensor
from torch.nn import functional


def per_sample(logits: Tensor, labels: Tensor) -> Tensor:
    """The loss of every sample (n,), for either kind of logits."""
    if labels.ndim == 1:
        return functional.cross_entropy(logits, labels, reduction="none")
    flat = functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
    return flat.reshape(labels.shape).mean(dim=1)


def doubt(logits: Tensor, labels: Tensor) -> Tensor:
    """Minus the probability of the right label (n,), -1 to 0; of sequences the mean over their positions."""
    right = logits.softmax(dim=-1).gather(-1, labels.unsqueeze(-1)).squeeze(-1)
    return -(right if labels.ndim == 1 else right.mean(dim=1))


PerSample = Callable[[Tensor, Tensor], Tensor]
SIGNALS: Final[Mapping[str, PerSample]] = {"loss": per_sample, "probability": doubt}
