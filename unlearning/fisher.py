"""Empirical Fisher information from per-sample gradients: its diagonal, and rank-r factors of its blocks.

Everything here sees tensors only. G is the matrix of N per-sample gradients, F = G^T G / N (ZK-APEX, section
3).
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from unlearning.errors import CurvatureError

_EIGEN_SLICE = 4096  # blocks decomposed at once: bounds the memory of the float64 copies


def block_factors(grads: Iterable[Tensor], block_size: int, rank: int) -> Tensor:
    """Rank-r factors of the block-diagonal empirical Fisher, shape (nblocks, rank, block_size), float32.

    `grads` yields (n, total) pieces of G and is consumed once; blocks are runs of `block_size` columns. Row k
    of a block's factor F is sqrt(eigenvalue_k) * eigenvector_k, largest first, so F^T F is the best rank-r
    approximation of the block of G^T G / N. An eigenvector's sign is fixed by making its largest entry
    positive. Raises CurvatureError for no gradients, a non-finite one, or sizes that do not fit.
    """
    if not 1 <= rank <= block_size:
        raise CurvatureError(f"got rank {rank}, expected between 1 and the block size {block_size}")
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
    return torch.cat([_top(piece.double() / count, rank) for piece in moment.split(_EIGEN_SLICE)])


def _top(moment: Tensor, rank: int) -> Tensor:
    """Scaled top eigenvectors of symmetric (nb, B, B) float64: (nb, rank, B) float32."""
    values, vectors = torch.linalg.eigh(moment)  # ascending
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
