"""Which weights to zero: scores on the forget set, and the choice of the highest. Sees tensors only.

Zeroing weight i changes the loss on the forget set by about S_i = -g_i theta_i + 1/2 C_ii theta_i^2 (ZK-APEX Eq. 15,
with g the mean gradient and C the damped diagonal empirical Fisher on the forget set): the larger, the more is
forgotten.
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

    C is `fisher` (the mean squared gradient) plus `damping` times its mean. Raises MaskError on unequal shapes.
    """
    if not theta.shape == gradient.shape == fisher.shape or theta.ndim != 1:
        raise MaskError(
            f"got theta {tuple(theta.shape)}, gradient {tuple(gradient.shape)} and fisher {tuple(fisher.shape)}, "
            "expected three vectors of one length"
        )
    weights, curvature = theta.double(), fisher.double()
    curvature = curvature + damping * curvature.mean()
    return -gradient.double() * weights + 0.5 * curvature * weights.square()
