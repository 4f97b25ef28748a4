"""Group-OBS in integers: what a proof can state exactly, with one rounding and a residual that measures it.

Weights sit on a grid, w = round(theta * 2^bits) with |w| < 2^24, so that w * 2^-bits is exact in float32. The
curvature of a block is d*I + G^T G with small integers: G (r, B), entries within +-factor_limit, and a
damping d. With M the masked and U the unmasked coordinates, v in Z^r is the rounded solution of

    (d*I + G_U G_U^T) v = -G_M w_M

and everything else follows from it exactly:

    f = v G,    w' = (w - f) on U and 0 on M,    e = G (w' - w) - d*v.

Unrounded v would give e = 0 and the solution of ZK-APEX Eq. 14 with C = d*I + G^T G (stationarity on U says
d*delta_U = -G_U^T G delta, hence delta_U = -v G with v = G delta / d). Rounding moves v by at most 1/2, which
shows up as |e| <= (d*I + G_U G_U^T)'s largest absolute row sum / 2.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from unlearning.errors import GridError

GRID_LIMIT = 2**24  # float32 holds every integer below this exactly
_EXACT = 2.0**52  # float64 holds every integer below this exactly; int64 then never overflows


class Solution(NamedTuple):
    """All int64: w_new (nb, B), v (nb, r), f (nb, B), e (nb, r)."""

    w_new: Tensor
    v: Tensor
    f: Tensor
    e: Tensor


def to_grid(theta: Tensor, bits: int) -> Tensor:
    """Integers round(theta * 2^bits), int64, same shape.

    Raises GridError when a weight is not finite or leaves |w| < 2^24 (then lower `bits`).
    """
    scaled = theta.double() * 2.0**bits
    if not bool(torch.isfinite(scaled).all()):
        raise GridError("a weight is not finite; expected a trained model's weights")
    grid = scaled.round()
    largest = float(grid.abs().max()) if grid.numel() else 0.0
    if largest >= GRID_LIMIT:
        raise GridError(
            f"a weight of {largest / 2.0**bits:.6g} is {largest:.0f} steps of 2^-{bits}, expected below 2^24;"
            f" use fewer grid bits than {bits}"
        )
    return grid.long()


def from_grid(w: Tensor, bits: int) -> Tensor:
    """The deployed weights w * 2^-bits, float32, exact. Raises GridError unless |w| < 2^24."""
    if w.numel() and int(w.abs().max()) >= GRID_LIMIT:
        raise GridError(f"a grid weight is {int(w.abs().max())}, expected less than 2^24 in size")
    return (w.double() * 2.0**-bits).float()


def quantise_factors(factors: Tensor, factor_limit: int) -> Tensor:
    """Integer factors (nb, r, B) int64: each block scaled to a largest entry of `factor_limit`, then rounded.

    A block's scale does not matter to the undamped solution; beside the public damping it sets how strongly a
    block is regularised. An all-zero block stays zero. Raises GridError on a non-finite entry or a limit
    below 1.
    """
    if factor_limit < 1 or factors.ndim != 3:
        raise GridError(
            f"got factors {tuple(factors.shape)} and limit {factor_limit}, expected (nb, r, B) and at least 1"
        )
    values = factors.double()
    if not bool(torch.isfinite(values).all()):
        raise GridError("a curvature factor is not finite; check the gradients")
    peak = values.abs().amax(dim=(1, 2), keepdim=True)
    return (values / torch.where(peak > 0, peak, 1.0) * factor_limit).round().long()


def temper(factors: Tensor, damping: int, tolerance: int) -> Tensor:
    """Shrink the factors (nb, r, B) of blocks whose rounding residual could pass `tolerance`; others stay.

    Rounding v moves it by at most 1/2 per entry, so |e| is at most half an absolute row sum of d*I + G_U G_U^T. A
    block with a flat, heavy curvature can exceed what a circuit's table holds although its owner is honest;
    scaled down it keeps its shape and is damped a little more. A quarter of the tolerance is left for masks
    under which the row sums grow. Raises GridError when the damping alone leaves no room.
    """
    room = 1.5 * tolerance - damping  # of the row sums, so that half of them stay below 3/4 of the tolerance
    if room <= 0:
        raise GridError(
            f"damping {damping} leaves no room below tolerance {tolerance}; use another circuit release"
        )
    values = factors.double()
    sums = torch.einsum("nri,nsi->nrs", values, values).abs().sum(2).amax(1)
    scale = (room / sums.clamp(min=room)).sqrt()
    return (values * scale[:, None, None]).round().to(factors.dtype)


def solve(w: Tensor, factors: Tensor, mask: Tensor, damping: int) -> Solution:
    """Solve all blocks at once; see the module's head for the formulas.

    w (nb, B) integers below 2^24 in size; factors (nb, r, B) integers of any width; mask (nb, B) bool, true =
    zero this weight; damping d >= 1. Raises GridError on wrong shapes or types, or when a result would leave
    the grid.
    """
    _check(w, factors, mask, damping)
    weights, G = w.long(), factors.long()
    gone, keep = weights * mask, (~mask).long()
    pull = -torch.einsum("nri,ni->nr", G.double(), gone.double())
    kept = G.double() * keep.unsqueeze(1).double()
    system = kept @ kept.transpose(1, 2) + damping * torch.eye(G.shape[1], dtype=torch.float64)
    exact = torch.cholesky_solve(pull.unsqueeze(2), torch.linalg.cholesky(system)).squeeze(2)
    _check_headroom(weights, G, exact, damping)
    v = exact.round().long()
    f = torch.einsum("nr,nri->ni", v, G)
    w_new = (weights - f) * keep
    if w_new.numel() and int(w_new.abs().max()) >= GRID_LIMIT:
        raise GridError(
            f"a compensated weight is {int(w_new.abs().max())} grid steps, expected less than 2^24; "
            "use fewer grid bits or more damping"
        )
    e = torch.einsum("nri,ni->nr", G, w_new - weights) - damping * v
    return Solution(w_new, v, f, e)


def _check(w: Tensor, factors: Tensor, mask: Tensor, damping: int) -> None:
    shapes_fit = (
        w.ndim == 2
        and factors.ndim == 3
        and mask.shape == w.shape
        and (factors.shape[0], factors.shape[2]) == tuple(w.shape)
    )
    if not shapes_fit or mask.dtype != torch.bool:
        raise GridError(
            f"got w {tuple(w.shape)}, factors {tuple(factors.shape)} and mask {mask.dtype} "
            f"{tuple(mask.shape)}, expected (nb, B), (nb, r, B) and bool (nb, B)"
        )
    if w.is_floating_point() or factors.is_floating_point():
        raise GridError(f"got w {w.dtype} and factors {factors.dtype}, expected integers; use to_grid first")
    if damping < 1:
        raise GridError(
            f"got damping {damping}, expected at least 1: without it a block may have no unique solution"
        )
    if w.numel() and int(w.abs().max()) >= GRID_LIMIT:
        raise GridError(f"a grid weight is {int(w.abs().max())}, expected less than 2^24 in size")


def _check_headroom(w: Tensor, G: Tensor, v: Tensor, damping: int) -> None:
    """Bound every integer of f, w' and e before it is computed, so that int64 arithmetic stays exact."""
    if not w.numel() or not G.shape[1]:
        return
    entry, size = float(G.abs().max()), float(v.abs().max()) + 1
    change = float(w.abs().max()) * 2 + size * entry * G.shape[1]
    if not entry * change * w.shape[1] + damping * size < _EXACT:
        raise GridError(
            f"factors up to {entry:.0f} and v up to {size:.3g} leave no room for exact arithmetic; "
            "use smaller factors or more damping"
        )
