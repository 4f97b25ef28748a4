"""Group Optimal Brain Surgeon in floats, as in the paper and kept away from what is to be forgotten.

ZK-APEX Eq. 13 and 14: minimise 1/2 d^T C d subject to d_M = -theta_M, block by block, with M the masked and K
the kept coordinates. Stationarity on K reads C_KK d_K = C_KM theta_M, which needs no inverse of C. (Eq. 19 of the
paper, which adds the masked weights twice, contradicts Eq. 14 and 20a; Eq. 14 is followed.)

Compensation repairs whatever the mask damaged, the forgotten included. So q public *forget directions* U (q, B)
per block, gradients of the loss on the forget set, may be added with a push c (q,): U_K d_K shall be c, where
c = 0 keeps the forget loss as the mask left it (to first order), and c > 0 raises it. Softly:

    U_K d_K - c = softness * mu,     (C d)_K = -weight * U_K^T mu,

which minimises 1/2 d^T C d + weight / (2 softness) |U_K d_K - c|^2.

Here the blocks C (B, B) are whole, weight is 1, and softness 0 means the exact constraint: the reference that the
experiments compare with. lattice.py has the form of low rank that clients compute and prove.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from unlearning.errors import CurvatureError

BLOCKS_PER_SLICE = 2048  # so many that asking for a step takes less time than the step
_WHOLE_BLOCKS_PER_SLICE = 256
_LEAST = 1e-12  # of the mean diagonal: what an exact constraint is softened by, for directions that are zero


class Directions(NamedTuple):
    """Public forget directions: rows (nb, q, B), push (nb, q), and the softness of U_K d_K = push."""

    rows: Tensor
    push: Tensor
    softness: float


def slices(blocks: int, size: int = BLOCKS_PER_SLICE) -> Iterator[slice]:
    """Consecutive runs of at most `size` blocks."""
    return (slice(start, min(start + size, blocks)) for start in range(0, blocks, size))


def of_blocks(directions: Directions | None, blocks: slice | Tensor) -> Directions | None:
    """The directions of some blocks, by a slice or positions (n,) int64; None where no block has any."""
    if directions is None:
        return None
    return Directions(directions.rows[blocks], directions.push[blocks], directions.softness)


def group_obs(theta: Tensor, mask: Tensor, curvature: Tensor, directions: Directions | None = None) -> Tensor:
    """Compensated weights theta_u (nb, B) float64, exactly zero where masked: the reference, from whole blocks.

    theta (nb, B); mask (nb, B) bool, true = zero this weight; curvature (nb, B, B) symmetric positive
    definite on the unmasked coordinates of every block; directions' rows (nb, q, B) and push (nb, q) in any float
    type. Raises CurvatureError on wrong shapes or a block that is not positive definite.
    """
    nb, size = theta.shape if theta.ndim == 2 else (-1, -1)
    if mask.shape != (nb, size) or mask.dtype != torch.bool or curvature.shape != (nb, size, size):
        raise CurvatureError(
            f"got theta {tuple(theta.shape)}, mask {mask.dtype} {tuple(mask.shape)} and curvature "
            f"{tuple(curvature.shape)}, expected (nb, B), bool (nb, B) and (nb, B, B)"
        )
    check_directions(directions, nb, size)
    new = torch.empty(nb, size, dtype=torch.float64)
    for part in slices(nb, _WHOLE_BLOCKS_PER_SLICE):
        chosen = theta[part].double(), mask[part], curvature[part].double()
        new[part] = _whole_blocks(*chosen, of_blocks(directions, part), part.start)
    return new


def _whole_blocks(theta: Tensor, mask: Tensor, matrix: Tensor, directions: Directions | None, first: int) -> Tensor:
    keep = (~mask).double()
    pull = (matrix @ (theta * mask).unsqueeze(2)) * keep.unsqueeze(2)  # C_KM theta_M
    # Masked rows and columns become those of the identity, so that all blocks have one size.
    system = matrix * keep.unsqueeze(1) * keep.unsqueeze(2) + torch.diag_embed(mask.double())
    root, info = torch.linalg.cholesky_ex(system)
    if bool((info != 0).any()):
        block = first + int((info != 0).nonzero()[0])
        raise CurvatureError(
            f"the curvature of block {block} is not positive definite; add damping to its diagonal"
        )
    change = torch.cholesky_solve(pull, root)
    if directions is not None and directions.rows.shape[1]:
        U = directions.rows.double() * keep.unsqueeze(1)
        toward = torch.cholesky_solve(U.transpose(1, 2), root)  # C_KK^-1 U_K^T (nb, B, q)
        inner = U @ toward
        least = _LEAST * inner.diagonal(dim1=1, dim2=2).mean(1).clamp(min=1e-30)
        soft = torch.clamp(least, min=directions.softness)[:, None, None] * torch.eye(U.shape[1]).double()
        missing = directions.push.double().unsqueeze(2) - U @ change
        change = change + toward @ torch.linalg.solve(inner + soft, missing)
    return torch.where(mask, 0.0, theta + change.squeeze(2) * keep)


def check_directions(directions: Directions | None, blocks: int, size: int) -> None:
    """Raise CurvatureError unless rows are (nb, q, B), push (nb, q), and the softness a number from 0."""
    if directions is None:
        return
    rows, push, softness = directions
    if rows.ndim != 3 or (rows.shape[0], rows.shape[2]) != (blocks, size) or push.shape != rows.shape[:2]:
        raise CurvatureError(
            f"got forget directions {tuple(rows.shape)} and push {tuple(push.shape)}, expected "
            f"({blocks}, q, {size}) and ({blocks}, q)"
        )
    if not 0 <= softness < float("inf"):
        raise CurvatureError(f"got softness {softness}, expected a number from 0")
