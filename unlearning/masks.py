"""Which weights to zero: scores on the forget set, and the choice of the highest. Sees tensors only.

Zeroing weight i changes the loss on the forget set by about S_i = -g_i theta_i + 1/2 C_ii theta_i^2 (ZK-APEX
Eq. 15, with g the mean gradient and C the damped diagonal empirical Fisher on the forget set): the larger,
the more is forgotten.

A score is a function of Evidence; SCORES names them, and what is added there can be asked for in a recipe.
The choice is one over all layers. Its grain is a single weight, or a *run* of consecutive weights (a row of a
tensor, or a chunk as a proof covers it): the best runs are taken, and of each run its best weights, at most a
share `density`. Masked weights that lie together touch fewer chunks, and every touched chunk costs a proof.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import numpy as np
import torch
from torch import Tensor

from unlearning.errors import MaskError
from unlearning.gradients import Moments

DAMPING_FRACTION = 0.01  # of the mean Fisher diagonal; keeps weights without any gradient in order of their size
RATIO_CURVATURE = 0.45
RATIO_RETAIN = 2.0
RATIO_FLOOR = 1.0


class Evidence(NamedTuple):
    """What scores may look at: the weights (total,), moments on the forget set, and on the rest where asked for."""

    theta: Tensor
    forget: Moments
    retain: Moments | None = None


class Score(NamedTuple):
    """A named score: (total,) from Evidence, higher = masked sooner; `retain`: it needs moments on the rest."""

    compute: Callable[[Evidence], Tensor]
    retain: bool


class Runs(NamedTuple):
    """Lengths (runs,) int64 of the consecutive runs of the flat vector, and the share to mask of a chosen one."""

    lengths: np.ndarray
    density: float


def saliency(theta: Tensor, gradient: Tensor, fisher: Tensor, damping: float = DAMPING_FRACTION) -> Tensor:
    """S = -g theta + 1/2 C theta^2 (Eq. 15), all of shape (total,); float64.

    C is `fisher` (the mean squared gradient) plus `damping` times its mean. Raises MaskError on unequal
    shapes.
    """
    if not theta.shape == gradient.shape == fisher.shape or theta.ndim != 1:
        raise MaskError(
            f"got theta {tuple(theta.shape)}, gradient {tuple(gradient.shape)} and "
            f"fisher {tuple(fisher.shape)}, expected three vectors of one length"
        )
    weights, curvature = theta.double(), fisher.double()
    curvature = curvature + damping * curvature.mean()
    return -gradient.double() * weights + 0.5 * curvature * weights.square()


def ratio(theta: Tensor, forget: Moments, retain: Moments) -> Tensor:
    """S_forget / (c max(S_retain, 0) + floor): spares weights that matter elsewhere; (total,) float64.

    With moments on the set to forget and on the rest, c = 2, and both scores S = -g
    theta + h C theta^2 with h = 0.45, the constants of the ZK-APEX authors' code. The floor is the mean size
    of S_retain, so that the ratio does not depend on the loss's scale. (Their code writes S with the opposite
    sign of its first term; with g the gradient of the loss that picks weights whose loss *protects* the
    class, and forgets nothing, so Eq. 15's sign is kept.) Raises MaskError on unequal shapes.
    """
    scale = 2 * RATIO_CURVATURE  # saliency has the factor 1/2
    gain = saliency(theta, forget.gradient, forget.fisher * scale)
    harm = saliency(theta, retain.gradient, retain.fisher * scale)
    floor = RATIO_FLOOR * harm.abs().mean() + torch.finfo(torch.float64).tiny
    return gain / (RATIO_RETAIN * harm.clamp(min=0) + floor)


def _ratio(evidence: Evidence) -> Tensor:
    if evidence.retain is None:
        raise MaskError("the score ratio needs moments on the retain set, got none")
    return ratio(evidence.theta, evidence.forget, evidence.retain)


SCORES: Final[dict[str, Score]] = {
    "saliency": Score(lambda evidence: saliency(evidence.theta, *evidence.forget), retain=False),
    "ratio": Score(_ratio, retain=True),
}


def as_bool(indices: np.ndarray, total: int) -> Tensor:
    """The mask as bool (total,), true where a weight is zeroed, from its positions (count,) int64."""
    mask = torch.zeros(total, dtype=torch.bool)
    mask[torch.from_numpy(indices)] = True
    return mask


def check_budget(budget: float) -> None:
    """Raise MaskError unless 0 < budget < 0.5."""
    if not 0 < budget < 0.5:
        raise MaskError(f"got budget {budget}, expected a fraction of all target weights between 0 and 0.5")


def row_runs(shapes: Sequence[Sequence[int]], density: float) -> Runs:
    """Runs that are the rows of tensors: a row holds what shares the first index, one neuron's weights in."""
    rows = [np.full(shape[0], int(np.prod(shape[1:])), dtype=np.int64) for shape in shapes]
    return Runs(np.concatenate(rows), density)


def chunk_runs(total: int, size: int, density: float) -> Runs:
    """Runs of `size` consecutive weights of the flat vector; the last may be shorter."""
    lengths = np.full(-(-total // size), size, dtype=np.int64)
    lengths[-1] -= len(lengths) * size - total
    return Runs(lengths, density)


def check_runs(budget: float, total: int, block_size: int, runs: Runs) -> None:
    """Raise MaskError where no good mask can follow, whatever the scores: before any is computed."""
    check_budget(budget)
    if not 0 < runs.density <= 1:
        raise MaskError(f"got density {runs.density}, expected a share of each run above 0 and at most 1")
    if int(runs.lengths.sum()) != total:
        raise MaskError(f"the runs cover {int(runs.lengths.sum())} weights, expected {total}")
    within = _within(runs)
    if round(budget * total) > int(within.sum()):
        raise MaskError(
            f"budget {budget} is {round(budget * total)} weights, but a density of {runs.density} allows "
            f"{int(within.sum())} in all runs together; raise the density or lower the budget"
        )
    if bool(((runs.lengths >= 2 * block_size - 1) & (within == runs.lengths)).any()):
        raise MaskError(
            f"a density of {runs.density} masks whole runs of up to {runs.lengths.max()} weights and with them "
            f"whole blocks of {block_size}, which leaves nothing to compensate with; lower the density"
        )


def select(scores: Tensor, budget: float, block_size: int | None = None, runs: Runs | None = None) -> np.ndarray:
    """Flat positions of the highest scores over all targets: ascending int64, (round(budget * total),).

    With `runs`, those with the highest mean score of their best weights are taken one after the other, and of
    each its best weights, until the count is reached. Equal scores are taken lower position first. With
    `block_size`, refuses a mask that leaves no weight of some block to compensate with. Raises MaskError for a
    budget outside (0, 0.5), one that rounds to no weight, non-finite scores, runs that do not fit, or such a block.
    """
    check_budget(budget)
    count = round(budget * scores.numel())
    if scores.ndim != 1 or count < 1:
        raise MaskError(
            f"budget {budget} of scores {tuple(scores.shape)} is {count}, expected a vector and 1 or more"
        )
    if not bool(torch.isfinite(scores).all()):
        raise MaskError("a mask score is not finite; check the weights and the forget set")
    if runs is None:
        indices = np.sort(_best_first(scores)[:count])
    else:
        check_runs(budget, scores.numel(), block_size or scores.numel(), runs)
        indices = _select_in_runs(scores, count, runs)
    if block_size is not None:
        refuse_whole_blocks(indices, block_size)
    return indices


def refuse_whole_blocks(indices: np.ndarray, block_size: int) -> None:
    """Raise MaskError where a mask covers all weights of some block."""
    blocks, per_block = np.unique(indices // block_size, return_counts=True)
    if len(blocks) and per_block.max() >= block_size:
        raise MaskError(
            f"the mask covers a whole block of {block_size} weights (block {blocks[per_block.argmax()]}), which "
            "leaves nothing to compensate with; lower the budget or the density, or use another score"
        )


def _best_first(scores: Tensor) -> np.ndarray:
    return torch.sort(scores, descending=True, stable=True).indices.numpy()  # stable: ties keep their order


def _within(runs: Runs) -> np.ndarray:
    """How many weights of each run may be masked: at least one."""
    return np.minimum(np.maximum(np.floor(runs.density * runs.lengths + 1e-9), 1), runs.lengths).astype(np.int64)


def _select_in_runs(scores: Tensor, count: int, runs: Runs) -> np.ndarray:
    """The best weights of the best runs, ascending. Runs of one length are ranked inside in one batch."""
    starts = np.concatenate([[0], np.cumsum(runs.lengths)[:-1]])
    within = _within(runs)
    means = torch.empty(len(starts), dtype=torch.float64)
    best: dict[int, np.ndarray] = {}  # by run length: offsets of the best weights, best first (runs, within)
    for length in np.unique(runs.lengths):
        chosen = np.flatnonzero(runs.lengths == length)
        view = scores[torch.from_numpy(starts[chosen][:, None] + np.arange(length))]
        values, order = torch.sort(view, dim=1, descending=True, stable=True)
        most = int(within[chosen[0]])
        means[torch.from_numpy(chosen)] = values[:, :most].double().mean(dim=1)
        best[int(length)] = order[:, :most].numpy()
    taken = _best_first(means)
    last = int(np.searchsorted(np.cumsum(within[taken]), count))
    place = {int(length): np.cumsum(runs.lengths == length) - 1 for length in best}
    pieces = [
        starts[run] + best[int(runs.lengths[run])][place[int(runs.lengths[run])][run]] for run in taken[: last + 1]
    ]
    return np.sort(np.concatenate(pieces)[:count])
