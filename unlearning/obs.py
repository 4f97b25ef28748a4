r"""Group Optimal Brain Surgeon in floats, as in the paper and kept away from what is to be forgotten.

ZK-APEX Eq. 13 and 14: minimise 1/2 d^T C d subject to d_M = -theta_M, block by block, with M the masked and K
the kept coordinates. Stationarity on K reads C_KK d_K = C_KM theta_M, which needs no inverse of C. (Eq. 19 of the
paper, which adds the masked weights twice, contradicts Eq. 14 and 20a; Eq. 14 is followed.)

Compensation repairs whatever the mask damaged, the forgotten included. So q public *forget directions* U (q, B)
per block, gradients of the loss on the forget set, may be added with a push c (q,): U_K d_K shall be c, where
c = 0 keeps the forget loss as the mask left it (to first order), and c > 0 raises it. Softly:

    U_K d_K - c = softness * mu,     (C d)_K = -weight * U_K^T mu,

which minimises 1/2 d^T C d + weight / (2 softness) |U_K d_K - c|^2.

- `group_obs` takes whole blocks C (B, B), weight 1, and softness 0 for the exact constraint.
- `low_rank` takes C = damping * I + G^T G, weight = damping. With v = G d / damping the solution is
  d_K = -(v G + mu U)_K, and with A the rows of G above those of U, one system of size r + q remains:

      (diag(damping, softness) + A_K A_K^T) (v, mu) = (-G_M theta_M, -c).

lattice.py rounds the latter's multipliers v and mu and states the rest in integers. All blocks are solved in
batches, slices of blocks at a time, so that the memory is bounded whatever the number of blocks.
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


class Room(NamedTuple):
    """Memory that all slices of blocks share: fetching it anew for each takes longer than the arithmetic in it."""

    rows: Tensor
    below: Tensor

    @classmethod
    def of(cls, factors: Tensor, directions: Directions | None, dtype: torch.dtype) -> Room:
        """Room for slices of these blocks."""
        blocks, count, size = min(len(factors), BLOCKS_PER_SLICE), factors.shape[1], factors.shape[2]
        count += 0 if directions is None else directions.rows.shape[1]
        return cls(*(torch.empty(blocks, count + more, size, dtype=dtype) for more in (0, 1)))


class System(NamedTuple):
    """Matrix (nb, r + q, r + q) and right side (nb, r + q) whose solution is v (nb, r) beside mu (nb, q)."""

    matrix: Tensor
    right: Tensor

    def solution(self) -> Tensor:
        """The multipliers, (nb, r + q), by elimination without pivots: the matrices are positive definite.

        Damping and softness are above 0. One step works on all blocks, which lie beside each other in memory:
        faster than LAPACK, called for each, up to some sixteen unknowns.
        """
        count = self.right.shape[1]
        rows = torch.cat([self.matrix, self.right.unsqueeze(2)], dim=2).permute(1, 2, 0).contiguous()
        for k in range(count - 1):
            share = rows[k + 1 :, k] / rows[k, k]
            rows[k + 1 :, k + 1 :].addcmul_(share.unsqueeze(1), rows[k, k + 1 :], value=-1)
        answer = rows[:, count]
        for k in range(count - 1, -1, -1):
            answer[k] /= rows[k, k]
            answer[:k].addcmul_(rows[:k, k], answer[k], value=-1)
        return answer.t().contiguous()


def slices(blocks: int, size: int = BLOCKS_PER_SLICE) -> Iterator[slice]:
    """Consecutive runs of at most `size` blocks."""
    return (slice(start, min(start + size, blocks)) for start in range(0, blocks, size))


def part_of(directions: Directions | None, part: slice | Tensor) -> Directions | None:
    """The directions of a run of blocks."""
    if directions is None:
        return None
    return Directions(directions.rows[part], directions.push[part], directions.softness)


def group_obs(theta: Tensor, mask: Tensor, curvature: Tensor, directions: Directions | None = None) -> Tensor:
    """Compensated weights theta_u (nb, B) float64, exactly zero where masked: the reference, from whole blocks.

    theta (nb, B); mask (nb, B) bool, true = zero this weight; curvature (nb, B, B) symmetric positive
    definite on the unmasked coordinates of every block. Raises CurvatureError on wrong shapes or a block that
    is not positive definite.
    """
    nb, size = theta.shape if theta.ndim == 2 else (-1, -1)
    if mask.shape != (nb, size) or mask.dtype != torch.bool or curvature.shape != (nb, size, size):
        raise CurvatureError(
            f"got theta {tuple(theta.shape)}, mask {mask.dtype} {tuple(mask.shape)} and curvature "
            f"{tuple(curvature.shape)}, expected (nb, B), bool (nb, B) and (nb, B, B)"
        )
    check_directions(directions, nb, size, least_softness=0.0)
    new = torch.empty(nb, size, dtype=torch.float64)
    for part in slices(nb, _WHOLE_BLOCKS_PER_SLICE):
        chosen = theta[part].double(), mask[part], curvature[part].double()
        new[part] = _whole_blocks(*chosen, part_of(directions, part), part.start)
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


def low_rank(
    theta: Tensor, factors: Tensor, mask: Tensor, damping: float | Tensor, directions: Directions | None = None
) -> Tensor:
    """Compensated weights (nb, B) of theta's type (float32 or float64) for C = damping * I + factors^T factors.

    theta (nb, B); factors (nb, r, B) of any type; mask (nb, B) bool; damping one number or (nb,), positive.
    Raises CurvatureError on wrong shapes, or for damping or softness that are not positive.
    """
    check(theta, factors, mask, directions)
    strength = torch.as_tensor(damping, dtype=theta.dtype).expand(len(theta))
    if len(theta) and not float(strength.min()) > 0:
        raise CurvatureError(f"got damping {float(strength.min())}, expected more than 0: C is singular without it")
    new, room = torch.empty_like(theta), Room.of(factors, directions, theta.dtype)
    for part in slices(len(theta)):
        rows = stacked(factors[part], part_of(directions, part), room)
        system = system_of(theta[part], rows, mask[part], strength[part], part_of(directions, part), room)
        new[part] = torch.where(mask[part], 0.0, theta[part] - combined(system.solution(), rows))
    return new


def stacked(factors: Tensor, directions: Directions | None, room: Room) -> Tensor:
    """The rows of the factors above those of the directions, (nb, r + q, B), in the room's first part."""
    rows, r = room.rows[: len(factors)], factors.shape[1]
    rows[:, :r] = factors
    if directions is not None:
        rows[:, r:] = directions.rows
    return rows


def combined(multipliers: Tensor, rows: Tensor) -> Tensor:
    """The sum (nb, B) of rows (nb, r + q, B) times multipliers (nb, r + q).

    Row by row for all blocks: ten times as quick as a batched product of matrices that have one row each.
    """
    total = torch.zeros(len(rows), rows.shape[2], dtype=rows.dtype)
    for k in range(rows.shape[1]):
        total.addcmul_(rows[:, k], multipliers[:, k, None])
    return total


def system_of(
    theta: Tensor, rows: Tensor, mask: Tensor, damping: Tensor, directions: Directions | None, room: Room
) -> System:
    """The module's system of size r + q for every block; `rows` as from `stacked`, with the room's second part.

    theta (nb, B) and rows (nb, r + q, B) of one float type, mask (nb, B) bool, damping (nb,).
    """
    count = rows.shape[1]
    q = 0 if directions is None else directions.rows.shape[1]
    # A_K A_K^T and A_M theta_M in one product: A times the kept part of A, and the masked part of theta below it.
    below = room.below[: len(rows)]
    torch.mul(rows, (~mask).to(rows.dtype).unsqueeze(1), out=below[:, :count])
    torch.mul(theta, mask.to(rows.dtype), out=below[:, count])
    product = rows @ below.transpose(1, 2)
    matrix, right = product[:, :, :count], product[:, :, count].neg()
    diagonal = matrix.diagonal(dim1=1, dim2=2)
    diagonal[:, : count - q] += damping.unsqueeze(1)
    if directions is not None:
        right[:, count - q :] = -directions.push.to(rows.dtype)
        diagonal[:, count - q :] += directions.softness
    return System(matrix, right)


def check(theta: Tensor, factors: Tensor, mask: Tensor, directions: Directions | None) -> None:
    """Raise CurvatureError unless the shapes fit: (nb, B), (nb, r, B), bool (nb, B), and directions'."""
    fits = (
        theta.ndim == 2
        and factors.ndim == 3
        and mask.shape == theta.shape
        and (factors.shape[0], factors.shape[2]) == tuple(theta.shape)
    )
    if not fits or mask.dtype != torch.bool:
        raise CurvatureError(
            f"got weights {tuple(theta.shape)}, factors {tuple(factors.shape)} and mask {mask.dtype} "
            f"{tuple(mask.shape)}, expected (nb, B), (nb, r, B) and bool (nb, B)"
        )
    check_directions(directions, *theta.shape)


def check_directions(directions: Directions | None, blocks: int, size: int, least_softness: float = 1e-30) -> None:
    """Raise CurvatureError unless rows are (nb, q, B), push (nb, q), and the softness at least `least_softness`."""
    if directions is None:
        return
    rows, push, softness = directions
    if rows.ndim != 3 or (rows.shape[0], rows.shape[2]) != (blocks, size) or push.shape != rows.shape[:2]:
        raise CurvatureError(
            f"got forget directions {tuple(rows.shape)} and push {tuple(push.shape)}, expected "
            f"({blocks}, q, {size}) and ({blocks}, q)"
        )
    if not least_softness <= softness < float("inf"):
        raise CurvatureError(f"got softness {softness}, expected a positive number")
