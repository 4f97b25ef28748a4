r"""Forget directions as a provider publishes them: small integers per block, and their file. Tensors only.

A direction is a gradient of the loss on the forget set, cut into blocks, so that a step along it forgets and a step
against it remembers. The provider takes gradients of its own model from its own data; obs.py says what clients do
with them. Integers suffice because only the direction counts: each row of each block is scaled to the same largest
entry and rounded. It is zero on masked weights, which cannot move. The push c = share * |U| |w_M| asks for a step
along U whose size is that share of what the mask took from the block; a proportional push spreads the same
unevenly, more where forgetting has more to gain. A block without a masked weight gets neither direction nor push,
and so is left as it is.

The file, canonical and content-addressed like the mask's:

    b"unlearning-directions/v1\n"
    32 bytes         SHA-256 of the mask file that the directions belong to
    u32 big-endian   block size B, directions per block q, softness d_u
    u64 big-endian   n, how many blocks have directions: those with a masked weight, in order
    n x q x B int8   rows
    n x q i64 big-endian   push, at least 0
"""

from __future__ import annotations

import hashlib
import struct
from typing import Final

import numpy as np
import torch
from torch import Tensor

from unlearning import lattice, obs
from unlearning.errors import MaskError
from unlearning.obs import Directions

MAGIC: Final = b"unlearning-directions/v1\n"
_BLOCKS_PER_SLICE: Final = 2048
_HEAD: Final = struct.Struct(">32sIIIQ")


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
    for part in obs.slices(len(rows), _BLOCKS_PER_SLICE):
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
    rows: Tensor, w: Tensor, mask: Tensor, limit: int, softness: int, share: float, *, proportional: bool = False
) -> Directions:
    """Integer directions int8 and push int64 for a mask (nb, B), from float rows (nb, q, B) and grid weights w.

    `limit` is the largest entry, 1 to 127. The step of a push is `share` times what the mask took from its block;
    `proportional`: times what it took from a touched block (root mean square), and the row's length over the mean
    one of touched blocks. Raises GridError for rows that are not finite.
    """
    nb, q, size = rows.shape
    touched = mask.any(dim=1)
    free = rows.masked_fill(mask.unsqueeze(1), 0.0)
    whole = lattice.quantise_factors(free.reshape(nb * q, 1, size), limit).reshape(nb, q, size)
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
    _expect_zero_on(mask, rows)
    if rows.dtype != torch.int8 or bool((push < 0).any()):
        raise MaskError(f"got rows {rows.dtype} and push from {int(push.min())}, expected int8 and at least 0")
    head = _HEAD.pack(
        hashlib.sha256(mask_file).digest(), rows.shape[2], rows.shape[1], int(softness), int(touched.sum())
    )
    return MAGIC + head + rows[touched].numpy().tobytes() + push[touched].numpy().astype(">i8").tobytes()


def parse_directions(data: bytes, mask: Tensor, mask_file: bytes) -> Directions:
    """Read the file that belongs to a mask (nb, B) and its file. Raises MaskError for any other byte string."""
    start = len(MAGIC) + _HEAD.size
    if not data.startswith(MAGIC) or len(data) < start:
        raise MaskError(f"got {len(data)} bytes that begin {data[:30]!r}, expected a file that begins {MAGIC!r}")
    digest, size, q, softness, count = _HEAD.unpack(data[len(MAGIC) : start])
    if digest != hashlib.sha256(mask_file).digest():
        raise MaskError(f"the directions are for the mask {digest.hex()}, which is another one than given")
    touched = mask.any(dim=1)
    if size != mask.shape[1] or count != int(touched.sum()) or softness < 1:
        raise MaskError(
            f"got directions of {count} blocks of {size} with softness {softness}, expected "
            f"{int(touched.sum())} of {mask.shape[1]}, and at least 1"
        )
    if len(data) != start + count * q * (size + 8):
        wanted = start + count * q * (size + 8)
        raise MaskError(f"the directions file has {len(data)} bytes, expected {wanted} for {count} blocks")
    middle = start + count * q * size
    rows = torch.zeros(len(mask), q, size, dtype=torch.int8)
    rows[touched] = torch.from_numpy(np.frombuffer(data[start:middle], np.int8).reshape(count, q, size).copy())
    push = torch.zeros(len(mask), q, dtype=torch.int64)
    push[touched] = torch.from_numpy(np.frombuffer(data[middle:], ">i8").reshape(count, q).astype(np.int64))
    if bool((push < 0).any()):
        raise MaskError(f"the directions file has a push of {int(push.min())}, expected at least 0")
    _expect_zero_on(mask, rows)
    return Directions(rows, push, softness)


def _expect_zero_on(mask: Tensor, rows: Tensor) -> None:
    wrong = rows.bool() & mask.unsqueeze(1)
    if bool(wrong.any()):
        block, row, place = wrong.nonzero()[0].tolist()
        raise MaskError(
            f"forget direction {row} of block {block} is {int(rows[block, row, place])} on masked weight {place}, "
            "expected 0: a masked weight does not move"
        )
