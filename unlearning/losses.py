"""The cross-entropy this package trains on, measures and differentiates: of classes, and of next tokens.

Classification: logits (n, classes), labels (n,). Language models: logits (n, length, vocabulary), labels (n,
length) that hold the token which follows each position. A sequence is one sample; its loss is the mean over
its positions, in nats.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def per_sample(logits: Tensor, labels: Tensor) -> Tensor:
    """The loss of every sample (n,), for either kind of logits."""
    if labels.ndim == 1:
        return functional.cross_entropy(logits, labels, reduction="none")
    flat = functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
    return flat.reshape(labels.shape).mean(dim=1)
