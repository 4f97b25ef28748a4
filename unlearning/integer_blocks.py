r"""The integer operator for a slice of blocks: exact products in the narrowest float that holds them.

The entries of curvature factors have few bits, so that float32, which holds integers up to 2^24, is wide enough
for their Gram matrices, at half the memory and time of float64. Weights and multipliers do not fit beside them:
they are split into halves, x = 2^12 high + low with |low| <= 2^11, multiplied as two rows, and put together in
float64. Where the factors are too wide for that (`float_for`), everything is float64, and halves do no harm.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from unlearning.errors import GridError
from unlearning.obs import Directions

GRID_LIMIT = 2**24  # float32 holds every integer below this exactly
_EXACT = 2.0**52  # float64 holds every integer below this exactly
_HALF = 2.0**12


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


class DirectedSolution(NamedTuple):
    """Integers: w_new and f (nb, B), v and e (nb, r), mu and slack (nb, q); f holds the directions' part too.

    From lattice.py all int64; of a slice here, the same integers as float64.
    """

    w_new: Tensor
    v: Tensor
    f: Tensor
    e: Tensor
    mu: Tensor
    slack: Tensor


def largest(tensor: Tensor) -> float:
    """The largest size of an entry; 0 of none."""
    if not tensor.numel():
        return 0.0
    low, high = torch.aminmax(tensor)
    return max(-float(low), float(high))


def float_for(entry: float, size: int) -> torch.dtype:
    """The narrowest type that holds sums of `size` products of an entry with another or with half of a weight."""
    return torch.float32 if entry * max(entry, _HALF) * size < GRID_LIMIT else torch.float64


class Workspace:
    """Memory for slices of up to `blocks` blocks: fetching it anew for each takes longer than the arithmetic in it.

    entry: the largest size of an entry of factors or directions; size: B; rank: r; count: r + q.
    """

    def __init__(self, blocks: int, size: int, rank: int, count: int, entry: float) -> None:
        self.rank, self.entry, narrow = rank, entry, float_for(entry, size)
        self.rows = torch.empty(blocks, count, size, dtype=narrow)
        self.below = torch.empty(blocks, count + 2, size, dtype=narrow)
        self.keep = torch.empty(blocks, 1, size, dtype=narrow)
        self.product = torch.empty(blocks, count + 2, count, dtype=torch.float64)
        self.weights, self.masked, self.high = (torch.empty(blocks, size, dtype=torch.float64) for _ in range(3))

    def solve(
        self, w: Tensor, factors: Tensor, mask: Tensor, damping: int, directions: Directions | None
    ) -> DirectedSolution:
        """Solve a slice; see lattice.py for the formulas. The result's w_new is overwritten by the next call.

        w (n, B) integers below 2^24; factors (n, r, B) integers; mask (n, B) bool; directions of these blocks.
        Raises GridError when a sum could leave float64's exact integers, or a result the grid. The residuals need
        no second look at the weights: on what is kept the change is -f, so that both together are the system's
        right side minus its matrix times the multipliers, and all of these are integers.
        """
        n, r = len(w), self.rank
        weights = self.weights[:n].copy_(w)
        system = self._system(weights, factors, mask, damping, directions)
        multipliers = system.solution().round_()
        self._check_headroom(weights, largest(multipliers), system)
        f = self._combined(multipliers)
        w_new = weights.sub_(f).mul_(self.keep[:n, 0])
        if largest(w_new) >= GRID_LIMIT:
            raise GridError(
                f"a compensated weight is {largest(w_new):.0f} grid steps, expected less than 2^24; "
                "use fewer grid bits, more damping or less push"
            )
        residual = system.right - (system.matrix @ multipliers.unsqueeze(2)).squeeze(2)
        return DirectedSolution(w_new, multipliers[:, :r], f, residual[:, :r], multipliers[:, r:], residual[:, r:])

    def _system(
        self, weights: Tensor, factors: Tensor, mask: Tensor, damping: int, directions: Directions | None
    ) -> System:
        """A_K A_K^T and A_M w_M from one product: A, and below its kept part the masked weights' two halves."""
        n, r, count = len(weights), self.rank, self.rows.shape[1]
        rows, below, keep = self.rows[:n], self.below[:n], self.keep[:n]
        rows[:, :r].copy_(factors)
        if directions is not None:
            rows[:, r:].copy_(directions.rows)
        keep[:, 0].copy_(mask.view(torch.int8))  # from bool itself torch converts several times as slowly
        masked, high = self.masked[:n], self.high[:n]
        torch.mul(weights, keep[:, 0], out=masked)
        torch.mul(masked, 1 / _HALF, out=high).round_()
        below[:, count] = high
        below[:, count + 1] = masked.sub_(high, alpha=_HALF)
        torch.mul(rows, keep.neg_().add_(1), out=below[:, :count])
        product = self.product[:n].copy_(below @ rows.transpose(1, 2))
        matrix = product[:, :count]
        diagonal = matrix.diagonal(dim1=1, dim2=2)
        diagonal[:, :r] += damping
        right = product[:, count].mul(-_HALF).sub_(product[:, count + 1])
        if directions is not None:
            right[:, r:] = -directions.push
            diagonal[:, r:] += directions.softness
        return System(matrix, right)

    def _combined(self, multipliers: Tensor) -> Tensor:
        """The rows times the multipliers (n, r + q), summed: (n, B)."""
        rows = self.rows[: len(multipliers)]
        high = (multipliers / _HALF).round_()
        if largest(high) * self.entry * rows.shape[1] >= GRID_LIMIT:
            rows = rows.double()
        halves = torch.stack([high, multipliers.sub(high, alpha=_HALF)], dim=1).to(rows.dtype)
        sums = (halves @ rows).double()
        return sums[:, 0].mul_(_HALF).add_(sums[:, 1])

    def _check_headroom(self, weights: Tensor, multiplier: float, system: System) -> None:
        """Bound every integer of f, w' and the residuals before it is computed, so that float64 stays exact."""
        size, count = weights.shape[1], system.right.shape[1]
        multiplier += 1
        change = 2 * largest(weights) + multiplier * self.entry * count
        residual = largest(system.right) + multiplier * largest(system.matrix) * count
        if not max(self.entry * change * size, residual) < _EXACT:  # also where something is not a number
            raise GridError(
                f"factors up to {self.entry:.0f} and multipliers up to {multiplier:.3g} leave no room for exact "
                "arithmetic; use smaller factors or more damping"
            )
