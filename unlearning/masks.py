"""Which weights to zero: scores on the forget set, and the choice of the highest. Sees tensors only.

Zeroing weight i changes the loss on the forget set by about S_i = -g_i theta_i + 1/2 C_ii theta_i^2 (ZK-APEX
Eq. 15, with g the mean gradient and C the damped diagonal empirical Fisher on the forget set): the larger,
the more is forgotten.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from unlearning.errors import MaskError

DAMPING_FRACTION = 0.01  # of the mean Fisher diagonal; keeps weights without any gradient in order of their size
RATIO_CURVATURE = 0.45
RATIO_RETAIN = 2.0
RATIO_FLOOR = 1.0


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


def ratio(
    theta: Tensor,
    forget: tuple[Tensor, Tensor],
    retain: tuple[Tensor, Tensor],
    damping: float = DAMPING_FRACTION,
) -> Tensor:
    """S_forget / (c max(S_retain, 0) + floor): spares weights that matter elsewhere; (total,) float64.

    `forget` and `retain` are (gradient, fisher) pairs of shape (total,), c = 2, and both scores are S = -g
    theta + h C theta^2 with h = 0.45, the constants of the ZK-APEX authors' code. The floor is the mean size
    of S_retain, so that the ratio does not depend on the loss's scale. (Their code writes S with the opposite
    sign of its first term; with g the gradient of the loss that picks weights whose loss *protects* the
    class, and forgets nothing, so Eq. 15's sign is kept.) Raises MaskError on unequal shapes.
    """
    scale = 2 * RATIO_CURVATURE  # saliency has the factor 1/2
    gain = saliency(theta, forget[0], forget[1] * scale, damping)
    harm = saliency(theta, retain[0], retain[1] * scale, damping)
    floor = RATIO_FLOOR * harm.abs().mean() + torch.finfo(torch.float64).tiny
    return gain / (RATIO_RETAIN * harm.clamp(min=0) + floor)


def check_budget(budget: float) -> None:
    """Raise MaskError unless 0 < budget < 0.5."""
    if not 0 < budget < 0.5:
        raise MaskError(f"got budget {budget}, expected a fraction of all target weights between 0 and 0.5")


def select(scores: Tensor, budget: float, block_size: int | None = None) -> np.ndarray:
    """Flat positions of the highest scores over all targets: ascending int64, (round(budget * total),).

    Equal scores are taken lower position first. With `block_size`, refuses a mask that leaves no weight of
    some block to compensate with. Raises MaskError for a budget outside (0, 0.5), one that rounds to no
    weight, non-finite scores, or such a block.
    """
    check_budget(budget)
    count = round(budget * scores.numel())
    if scores.ndim != 1 or count < 1:
        raise MaskError(
            f"budget {budget} of scores {tuple(scores.shape)} is {count}, expected a vector and 1 or more"
        )
    if not bool(torch.isfinite(scores).all()):
        raise MaskError("a mask score is not finite; check the weights and the forget set")
    order = torch.sort(scores, descending=True, stable=True).indices  # stable: ties keep their order
    indices = order[:count].sort().values.numpy()
    if block_size is not None:
        _, per_block = np.unique(indices // block_size, return_counts=True)
        if per_block.max() >= block_size:
            raise MaskError(
                f"the mask covers a whole block of {block_size} weights, which leaves nothing to "
                f"compensate with; lower the budget {budget} or use another score"
            )
    return indices
