r"""Group-OBS in integers: what a proof can state exactly, with one rounding and residuals that measure it.

Weights sit on a grid, w = round(theta * 2^bits) with |w| < 2^24, so that w * 2^-bits is exact in float32. The
curvature of a block is d*I + G^T G with small integers: G (r, B), entries within +-factor_limit, and a
damping d. Forget directions (obs.py) are small integers too: U (q, B), a push c (q,) in units of U times grid
steps, and a softness d_u >= 1. With M the masked and K the kept coordinates, and A the rows of G above those of
U, the stationarity of obs.py for C = d*I + G^T G and weight d is one system of size r + q:

    (diag(d, d_u) + A_K A_K^T) (v, mu) = (-G_M w_M, -c),    where v stands for G (w' - w) / d.

Its solution rounded, v in Z^r and mu in Z^q, is all that is rounded; everything else follows exactly:

    f = v G + mu U,    w' = (w - f) on K and 0 on M,
    e = G (w' - w) - d*v,    slack = U_K (w' - w)_K - c - d_u*mu.

Unrounded v and mu would give e = slack = 0; without directions (q = 0) that is the solution of ZK-APEX Eq. 14.
Rounding moves each multiplier by at most 1/2, so that |e| and |slack| are at most half an absolute row sum of the
system's matrix. Blocks are solved many at a time (integer_blocks.py), in slices, so that the memory does not grow
with their number.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from unlearning import obs, threads
from unlearning.errors import CurvatureError, GridError
from unlearning.integer_blocks import GRID_LIMIT, DirectedSolution, Workspace, largest
from unlearning.obs import Directions

_BLOCKS_PER_RUN = 8_192  # that one thread takes at a time


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
    size = largest(grid)
    if size >= GRID_LIMIT:
        raise GridError(
            f"a weight of {size / 2.0**bits:.6g} is {size:.0f} steps of 2^-{bits}, expected below 2^24;"
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
    """Solve all blocks without forget directions: the paper's operator. Arguments and errors as below."""
    return Solution(*solve_directed(w, factors, mask, damping, None)[:4])


def solve_directed(
    w: Tensor, factors: Tensor, mask: Tensor, damping: int, directions: Directions | None
) -> DirectedSolution:
    """Solve all blocks; see the module's head for the formulas.

    w (nb, B) integers below 2^24 in size; factors (nb, r, B) integers of any width; mask (nb, B) bool, true =
    zero this weight; damping d >= 1; directions with integer rows (nb, q, B), push (nb, q) and softness d_u >= 1.
    Works through slices of blocks: beside arguments and results, the memory does not grow with nb. Raises
    GridError on wrong shapes or types, or when a result would leave the grid.
    """
    _check(w, factors, mask, damping, directions)
    nb, size = w.shape
    q = 0 if directions is None else directions.rows.shape[1]
    r = factors.shape[1]
    entry = max(largest(factors), 0.0 if directions is None else largest(directions.rows))
    # By numpy, whose zeros take memory only where something else is written.
    zeros = [np.zeros((nb, width), dtype=np.int64) for width in (r, size, r, q, q)]
    made = [np.empty((nb, size), dtype=np.int64), *zeros]

    def solve_run(run: slice) -> None:
        moved = _moved(mask[run], obs.of_blocks(directions, run))
        if len(moved) < run.stop - run.start:
            made[0][run] = w[run].numpy()
        room = Workspace(min(len(moved), obs.BLOCKS_PER_SLICE), size, r, r + q, entry)
        for inner in obs.slices(len(moved)):
            part = _chosen(run.start + moved[inner])
            solved = room.solve(w[part], factors[part], mask[part], damping, obs.of_blocks(directions, part))
            for whole, piece in zip(made, solved, strict=True):
                whole[part] = piece.numpy()  # converts on the way, three times as fast as torch

    threads.each(solve_run, list(obs.slices(nb, _BLOCKS_PER_RUN)))
    return DirectedSolution(*(torch.from_numpy(whole) for whole in made))


def _moved(mask: Tensor, directions: Directions | None) -> Tensor:
    """The blocks, in order, that the operator can change: in all others every multiplier is zero."""
    moved = mask.any(1)
    if directions is not None:
        moved |= (directions.push != 0).any(1)
    return moved.nonzero().squeeze(1)


def _chosen(blocks: Tensor) -> slice | Tensor:
    """The same blocks, given in order; as a slice, which copies nothing, where none is left out between them."""
    first, last = int(blocks[0]), int(blocks[-1])
    return slice(first, last + 1) if last - first + 1 == len(blocks) else blocks


def _check(w: Tensor, factors: Tensor, mask: Tensor, damping: int, directions: Directions | None) -> None:
    fits = w.ndim == 2 and factors.ndim == 3 and mask.shape == w.shape
    if not fits or (factors.shape[0], factors.shape[2]) != tuple(w.shape) or mask.dtype != torch.bool:
        raise GridError(
            f"got weights {tuple(w.shape)}, factors {tuple(factors.shape)} and mask {mask.dtype} "
            f"{tuple(mask.shape)}, expected (nb, B), (nb, r, B) and bool (nb, B)"
        )
    try:
        obs.check_directions(directions, *w.shape)
    except CurvatureError as error:
        raise GridError(str(error)) from error
    given = {"w": w, "factors": factors}
    if directions is not None:
        given |= {"directions": directions.rows, "push": directions.push}
        if directions.softness < 1 or directions.softness != int(directions.softness):
            raise GridError(f"got softness {directions.softness}, expected an integer of at least 1")
    if any(tensor.is_floating_point() for tensor in given.values()):
        kinds = ", ".join(f"{name} {tensor.dtype}" for name, tensor in given.items())
        raise GridError(f"got {kinds}, expected integers; use to_grid and the quantise functions first")
    if damping < 1:
        raise GridError(
            f"got damping {damping}, expected at least 1: without it a block may have no unique solution"
        )
    if largest(w) >= GRID_LIMIT:
        raise GridError(f"a grid weight is {largest(w):.0f}, expected less than 2^24 in size")
