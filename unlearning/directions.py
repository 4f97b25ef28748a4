r"""Forget directions as a provider publishes them: small integers per block, and what is published. Tensors only.

A direction is a gradient of the loss on the forget set, cut into blocks, so that a step along it forgets and a step
against it remembers. The provider takes gradients of its own model from its own data; obs.py says what clients do
with them. Integers suffice because only the direction counts: each row of each block is scaled to the same largest
entry and rounded. It is zero on masked weights, which cannot move. The push c = share * |U| |w_M| asks for a step
along U whose size is that share of what the mask took from the block; a proportional push spreads the same
unevenly, more where forgetting has more to gain. A block without a masked weight gets neither direction nor push,
and so is left as it is. directionsfile.py has their file.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from unlearning import directionsfile, lattice, obs
from unlearning.directionsfile import DirectionsFile
from unlearning.errors import MaskError
from unlearning.obs import Directions


def oriented(rows: Tensor, mean: Tensor) -> Tensor:
    """Rows (nb, q, B) turned so that none points against the mean gradient (nb, B): eigenvectors have no sign."""
    along = (rows @ mean.to(rows.dtype).unsqueeze(2)).squeeze(2)
    return torch.where((along < 0).unsqueeze(2), -rows, rows)


def cleaned(rows: Tensor, factors: Tensor, damping: float) -> Tensor:
    """Rows (nb, q, B) float64 turned away from what other data needs: (F + damping)^-1 times each.

    `factors` (nb, r, B) are those of the retained data's Fisher F; `damping` a share of its mean diagonal over all
    blocks, positive. A step along a cleaned direction forgets at the least cost to the retained loss, to second
    order. Raises MaskError on shapes that do not fit, or damping that is not positive.
    """
    size = rows.shape[-1]
    if rows.ndim != 3 or factors.ndim != 3 or (len(factors), factors.shape[2]) != (len(rows), size):
        raise MaskError(
            f"got rows {tuple(rows.shape)} and factors {tuple(factors.shape)}, expected blocks of one size"
        )
    if not damping > 0:
        raise MaskError(f"got damping {damping}, expected more than 0: low-rank curvature is singular without it")
    found = torch.empty(rows.shape, dtype=torch.float64)
    strength = damping * factors.double().square().sum((1, 2)).mean() / size
    for part in obs.slices(len(rows)):
        moment = factors[part].double().transpose(1, 2) @ factors[part].double()
        matrix = moment + strength.clamp(min=1e-30) * torch.eye(size, dtype=torch.float64)
        found[part] = torch.linalg.solve(matrix, rows[part].double().transpose(1, 2)).transpose(1, 2)
    return found


def noisy(values: Tensor, scale: float, seed: int) -> Tensor:
    """Values with Gaussian noise of `scale` times their root mean square along the last axis, drawn from `seed`."""
    generator = torch.Generator().manual_seed(seed)
    size = values.square().mean(dim=-1, keepdim=True).sqrt()
    return values + scale * size * torch.randn(values.shape, generator=generator, dtype=values.dtype)


def published(
    rows: Tensor, w: Tensor, mask: Tensor, limit: int, softness: int, share: float, *, proportional: bool = False,
    square: int | None = None,
) -> Directions:  # fmt: skip
    """Integer directions int8 and push int64 for a mask (nb, B), from float rows (nb, q, B) and grid weights w.

    `limit` is the largest entry, 1 to 127. The step of a push is `share` times what the mask took from its block;
    `proportional`: times what it took from a touched block (root mean square), and the row's length over the mean
    one of touched blocks. Rows whose squared length would pass `square` are scaled down to it at most: what a
    proof's lookup table can hold. Raises GridError for rows that are not finite.
    """
    nb, q, size = rows.shape
    touched = mask.any(dim=1)
    free = rows.masked_fill(mask.unsqueeze(1), 0.0)
    whole = lattice.quantise_factors(free.reshape(nb * q, 1, size), limit).reshape(nb, q, size)
    if square is not None:
        long = whole.double().square().sum(2, keepdim=True)
        whole = (whole * (square / long.clamp(min=square)).sqrt()).trunc().long()  # rounding could pass it
    whole *= touched[:, None, None]
    step = (w * mask).double().norm(dim=1, keepdim=True)
    if proportional:
        length = free.double().norm(dim=2)
        step = step[touched].square().mean().sqrt() * length / length[touched].mean().clamp(min=1e-300)
    return Directions(whole.to(torch.int8), (share * whole.double().norm(dim=2) * step).round().long(), softness)


def format_directions(directions: Directions, mask: Tensor, mask_file: bytes) -> bytes:
    """The file for int8 rows (nb, q, B) beside mask (nb, B). Raises MaskError for directions where none belong."""
    rows, push, softness = directions
    touched = mask.any(dim=1)
    if bool(rows[~touched].any()) or bool(push[~touched].any()):
        raise MaskError("a block without a masked weight has a forget direction or a push, expected neither")
    if rows.dtype != torch.int8 or bool((push < 0).any()):
        raise MaskError(f"got rows {rows.dtype} and push from {int(push.min())}, expected int8 and at least 0")
    blocks = np.flatnonzero(touched.numpy())
    made = DirectionsFile(blocks, rows[touched].numpy(), push[touched].numpy(), int(softness))
    directionsfile.expect_zero_on(mask[touched].numpy(), made.rows, blocks)
    return directionsfile.format(made, mask_file)
