"""What the experiments share of compensation: full damped curvature for floats, and integers as they are proved."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from unlearning import lattice
from unlearning.obs import Directions

SOFTNESS = 1.0  # of integer directions: next to nothing beside their squares


class Integers(Protocol):
    """What an experiment's setting says of the integer form."""

    @property
    def grid_bits(self) -> int:
        """Weights are multiples of 2^-bits."""

    @property
    def factor_limit(self) -> int:
        """The largest entry of a factor."""

    @property
    def integer_damping(self) -> int:
        """What is added to the diagonal of the integer curvature."""


def damped(factors: Tensor, share: float) -> Tensor:
    """Curvature F^T F (nb, B, B) from all factors F (nb, B, B) of blocks, plus `share` of its mean diagonal."""
    moment = factors.transpose(1, 2) @ factors
    mean = moment.diagonal(dim1=1, dim2=2).mean()
    return moment + share * mean * torch.eye(factors.shape[2])


def in_integers(
    theta: Tensor, mask: Tensor, factors: Tensor, directions: Directions | None, numbers: Integers
) -> Tensor:
    """Target weights (total,) after compensation on the grid, as it is proved.

    theta (total,) float32; mask (total,) bool; factors (nb, r, B) floats, which are made integers here; directions
    in integers, or None.
    """
    size = factors.shape[2]
    whole = lattice.quantise_factors(factors, numbers.factor_limit)
    grid = lattice.to_grid(theta, numbers.grid_bits).reshape(-1, size)
    solved = lattice.solve_directed(grid, whole, mask.reshape(-1, size), numbers.integer_damping, directions)
    return lattice.from_grid(solved.w_new, numbers.grid_bits).flatten()
