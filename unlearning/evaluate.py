"""How well a model does: accuracy, loss, divergence from a reference, membership inference.

Everything here works for classifiers and for language models (see losses.py for the shapes); the accuracy of
a language model is that of its next tokens.

The attack of `attack_auc` is the one of ZK-APEX: a classifier that sees one number per sample, its loss, learns
on one half to tell the forget set from held-out data of the same distribution, as many of each, and is
judged on the other half. 0.5 is ideal: the losses tell nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from unlearning import losses, samples
from unlearning.datasets import Part
from unlearning.errors import EvaluationError

MIA_SPLITS = 20  # random halves the attack is repeated on: one alone is noisy for small forget sets
_MIA_LEAST = 4  # samples on each side: two to learn from, two to be judged on

Losses = npt.NDArray[np.float64]


class Scores(NamedTuple):
    """`accuracy`: the fraction of right answers. `losses` (n,): the loss of every sample, in nats."""

    accuracy: float
    losses: Losses

    @property
    def perplexity(self) -> float:
        """The exponential of the mean loss: a language model hesitates among so many equally likely tokens."""
        return math.exp(float(self.losses.mean()))


class Domains(NamedTuple):
    """The data a model is judged on.

    `forget` is what was to be forgotten and `held_out` data of the same distribution that no training saw;
    `retain` is other data of the provider's, `personal` the client's test data.
    """

    forget: Part
    held_out: Part
    retain: Part
    personal: Part


class Report(NamedTuple):
    """One model on all domains. Accuracies and AUC are fractions, divergences nats, perplexities counts.

    The divergences are from the model retrained without the forget set (ZK-APEX Eq. 3); None without one.
    """

    forget_acc: float
    held_out_acc: float
    retain_acc: float
    personal_acc: float
    forget_perplexity: float
    held_out_perplexity: float
    retain_perplexity: float
    personal_perplexity: float
    mia_auc: float
    kl_forget: float | None
    kl_personal: float | None


def report(
    model: nn.Module, domains: Domains, reference: nn.Module | None = None, *, seed: int = 0, batch: int = 256
) -> Report:
    """Judge a model on `domains`, and against `reference` (exact retraining) where one is given.

    `seed` draws the attack's splits. Raises what the single figures raise.
    """
    forget, held_out, retain, personal = (score(model, *part, batch=batch) for part in domains)
    kl: list[float] | list[None] = [None, None]
    if reference is not None:
        kl = [divergence(reference, model, part.x, batch) for part in (domains.forget, domains.personal)]
    return Report(
        forget.accuracy,
        held_out.accuracy,
        retain.accuracy,
        personal.accuracy,
        forget.perplexity,
        held_out.perplexity,
        retain.perplexity,
        personal.perplexity,
        attack_auc(forget.losses, held_out.losses, seed),
        *kl,
    )


def score(model: nn.Module, x: np.ndarray | Tensor, y: np.ndarray | Tensor, batch: int = 512) -> Scores:
    """Accuracy and the losses of samples x with labels y.

    Raises DatasetError for no samples, or samples that do not fit the model; EvaluationError for logits that
    are not finite.
    """
    inputs, labels = samples.for_model(model, x, y)
    right, found = 0, []
    for logits, truth in zip(_logits(model, inputs, batch), labels.split(batch), strict=True):
        right += int((logits.argmax(dim=-1) == truth).sum())
        found.append(losses.per_sample(logits, truth).double())
    return Scores(right / labels.numel(), torch.cat(found).numpy())


def accuracy(model: nn.Module, x: np.ndarray | Tensor, y: np.ndarray | Tensor, batch: int = 512) -> float:
    """Fraction of samples x whose highest logit is their label y; arguments and errors as in score."""
    return score(model, x, y, batch).accuracy


def divergence(reference: nn.Module, model: nn.Module, x: np.ndarray | Tensor, batch: int = 256) -> float:
    """Mean KL(reference || model) of the two models' predictions on x, in nats, over samples and positions.

    Raises EvaluationError for no samples, models of other outputs, or logits that are not finite; DatasetError for
    samples that a model does not take.
    """
    inputs = torch.as_tensor(x)
    if len(inputs) == 0:
        raise EvaluationError("got no samples to compare two models on, expected at least one")
    shapes = [samples.trial_shape(each, inputs) for each in (reference, model)]
    if shapes[0] != shapes[1]:
        raise EvaluationError(f"the models' outputs are {shapes[0]} and {shapes[1]}, expected the same shape")
    total, count = 0.0, 0
    pairs = zip(_logits(reference, inputs, batch), _logits(model, inputs, batch), strict=True)
    for wanted, got in pairs:
        gap = functional.kl_div(got.log_softmax(-1), wanted.log_softmax(-1), reduction="sum", log_target=True)
        total += float(gap)
        count += wanted[..., 0].numel()
    return max(0.0, total / count)  # rounding may leave equal models a hair below zero


def attack_auc(members: Losses, others: Losses, seed: int = 0) -> float:
    """AUC with which a logistic regression tells `members` from `others` by their losses, (n,) and (m,) each.

    The larger side is cut to the smaller one's size; half of each side is learned from, the other half
    judged; the mean over 20 random splits drawn from `seed`. It can be below 0.5 where what was learned on
    one half is wrong on the other. Raises EvaluationError for fewer than 4 on a side or a loss not finite.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score

    size = min(len(members), len(others))
    if size < _MIA_LEAST:
        raise EvaluationError(
            f"got {len(members)} members and {len(others)} others, expected at least {_MIA_LEAST} of each"
        )
    if not (np.isfinite(members).all() and np.isfinite(others).all()):
        raise EvaluationError("a loss is not finite; check the model's weights")
    draw, half = np.random.default_rng(seed), size // 2
    truth = np.repeat([1, 0], [half, half]), np.repeat([1, 0], [size - half, size - half])
    figures = []
    for _ in range(MIA_SPLITS):
        one, two = draw.permutation(members)[:size, None], draw.permutation(others)[:size, None]
        learned = np.concatenate([one[:half], two[:half]])
        centre, width = learned.mean(), learned.std() + np.finfo(np.float64).tiny
        attack = LogisticRegression().fit((learned - centre) / width, truth[0])
        judged = (np.concatenate([one[half:], two[half:]]) - centre) / width
        figures.append(roc_auc_score(truth[1], attack.decision_function(judged)))
    return float(np.mean(figures))


def _logits(model: nn.Module, inputs: Tensor, batch: int) -> Iterator[Tensor]:
    """The model's logits of `inputs`, batch by batch, in evaluation mode. Raises EvaluationError on NaN or inf."""
    training = model.training
    model.eval()
    try:
        for piece in inputs.split(batch):
            with torch.no_grad():  # not around the yield: it would hold for whoever asked
                logits = model(piece)
            if not bool(torch.isfinite(logits).all()):
                raise EvaluationError("the model's logits are not finite; check its weights")
            yield logits
    finally:
        model.train(training)
