"""Empirical Fisher information from per-sample gradients: its diagonal, and rank-r factors of its blocks.

Everything here sees tensors only. G is the matrix of N per-sample gradients, F = G^T G / N (ZK-APEX, section
3).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from unlearning import threads
from unlearning.errors import CurvatureError
from unlearning.gradients import Trace

_EIGEN_SLICE = 128  # blocks decomposed at once: bounds the memory of the float64 copies


def block_factors(grads: Iterable[Tensor], block_size: int, rank: int) -> Tensor:
    """Rank-r factors of the block-diagonal empirical Fisher, shape (nblocks, rank, block_size), float32.

    `grads` yields (n, total) pieces of G and is consumed once; blocks are runs of `block_size` columns. Row k
    of a block's factor F is sqrt(eigenvalue_k) * eigenvector_k, largest first, so F^T F is the best rank-r
    approximation of the block of G^T G / N. An eigenvector's sign is fixed by making its largest entry
    positive. Raises CurvatureError for no gradients, a non-finite one, or sizes that do not fit.
    """
    if not 1 <= rank <= block_size:
        raise CurvatureError(f"got rank {rank}, expected between 1 and the block size {block_size}")
    moments = block_moments(grads, block_size)
    return torch.cat(threads.each(lambda piece: _top(piece, rank), moments.split(_EIGEN_SLICE)))


def layer_factors(trace: Trace, block_size: int, rank: int) -> Tensor:
    """The same factors of one layer, (out * in / B, rank, B), from its trace, a slice of its outputs at a time.

    Beside the trace and the result, the rows of one slice are held, whatever the layer's size. Raises
    CurvatureError also where the layer's weights are not a multiple of the block size.
    """
    width, outputs = trace.inputs.shape[2], trace.deltas.shape[2]
    if width * outputs % block_size:
        raise CurvatureError(
            f"the layer has {outputs} x {width} weights, expected a multiple of the block size {block_size}"
        )
    slices = trace.slices(block_size // math.gcd(block_size, width))
    return torch.cat([block_factors([trace.rows(part)], block_size, rank) for part in slices])


def block_moments(grads: Iterable[Tensor], block_size: int) -> Tensor:
    """The diagonal blocks of G^T G / N themselves, (nblocks, B, B) float32; arguments and errors as above."""
    moment, count = None, 0
    for rows in grads:
        if rows.ndim != 2 or rows.shape[1] == 0 or rows.shape[1] % block_size:
            raise CurvatureError(
                f"got gradients of shape {tuple(rows.shape)}, expected (samples, a multiple of {block_size})"
            )
        blocks = (
            rows.reshape(len(rows), rows.shape[1] // block_size, block_size).transpose(0, 1).contiguous()
        )  # (nblocks, n, B)
        if moment is None:
            moment = torch.zeros(len(blocks), block_size, block_size)
        moment.baddbmm_(blocks.transpose(1, 2), blocks)
        count += len(rows)
    if moment is None or count == 0:
        raise CurvatureError("got no gradients, expected at least one sample")
    if not bool(torch.isfinite(moment).all()):
        raise CurvatureError("a gradient is not finite; check the weights and the data")
    return moment.div_(count)


def _top(moment: Tensor, rank: int) -> Tensor:
    """Scaled top eigenvectors of symmetric (nb, B, B): (nb, rank, B) float32."""
    values, vectors = torch.linalg.eigh(moment.double())  # ascending
    values = values[:, -rank:].flip(1).clamp(min=0)
    rows = vectors[:, :, -rank:].flip(2).transpose(1, 2)
    peak = rows.gather(2, rows.abs().argmax(dim=2, keepdim=True))
    return (rows * peak.sign() * values.sqrt().unsqueeze(2)).float()


def diagonal(grads: Iterable[Tensor]) -> Tensor:
    """The diagonal (total,) of G^T G / N: mean squared gradients. Raises CurvatureError without any."""
    total, count = None, 0
    for rows in grads:
        squares = rows.square().sum(dim=0)
        total = squares if total is None else total + squares
        count += len(rows)
    if total is None or count == 0:
        raise CurvatureError("got no gradients, expected at least one sample")
    return total / count
