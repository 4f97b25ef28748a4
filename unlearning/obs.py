"""Group Optimal Brain Surgeon in floats: the reference for the integer form in lattice.py.

ZK-APEX Eq. 13 and 14: minimise 1/2 d^T C d subject to d_M = -theta_M. Stationarity on the unmasked
coordinates U reads C_UU d_U = C_UM theta_M, which needs C alone and no inverse of it. (Eq. 19 of the paper,
which adds the masked weights twice, contradicts Eq. 14 and 20a; Eq. 14 is followed.)
"""

from __future__ import annotations

import torch
from torch import Tensor

from unlearning.errors import CurvatureError


def group_obs(theta: Tensor, mask: Tensor, curvature: Tensor) -> Tensor:
    """Compensated weights theta_u (nb, B) float64, exactly zero where masked.

    theta (nb, B); mask (nb, B) bool, true = zero this weight; curvature (nb, B, B) symmetric positive
    definite on the unmasked coordinates of every block. All blocks are solved in one batch: masked rows and
    columns become those of the identity. Raises CurvatureError on wrong shapes or a block that is not
    positive definite.
    """
    nb, size = theta.shape if theta.ndim == 2 else (-1, -1)
    if mask.shape != (nb, size) or mask.dtype != torch.bool or curvature.shape != (nb, size, size):
        raise CurvatureError(
            f"got theta {tuple(theta.shape)}, mask {mask.dtype} {tuple(mask.shape)} and curvature "
            f"{tuple(curvature.shape)}, expected (nb, B), bool (nb, B) and (nb, B, B)"
        )
    weights, matrix = theta.double(), curvature.double()
    keep = (~mask).double()
    pull = (matrix @ (weights * mask).unsqueeze(2)).squeeze(2) * keep  # C_UM theta_M
    system = matrix * keep.unsqueeze(1) * keep.unsqueeze(2) + torch.diag_embed(mask.double())
    root, info = torch.linalg.cholesky_ex(system)
    if bool((info != 0).any()):
        block = int((info != 0).nonzero()[0])
        raise CurvatureError(
            f"the curvature of block {block} is not positive definite; add damping to its diagonal"
        )
    change = torch.cholesky_solve(pull.unsqueeze(2), root).squeeze(2) * keep
    return torch.where(mask, 0.0, weights + change)
