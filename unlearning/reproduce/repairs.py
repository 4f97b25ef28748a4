"""One client's model under one mask, repaired in every way that is compared.

A `Bench` holds what is expensive and does not depend on the way: the provider's scores, the client's curvature
taken before any mask. `repaired` then takes a second.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from unlearning import backbones, fisher, gradients, lattice, masks, obs
from unlearning.datasets import Part
from unlearning.errors import CurvatureError
from unlearning.obs import Directions

Push = Literal["even", "gradient"]


class Repair(NamedTuple):
    """A way to mask and repair; the defaults are the paper's operator with full blocks.

    `rank` 0 stands for whole blocks in floats; any other is the integer form that is proved. `directions` forget
    directions per block, `push` and `shape` as `Bench.directions` takes them. `curvature` 0 repairs nothing.
    """

    budget: float = 0.04
    density: float | None = None
    score: str = "saliency"
    block_size: int = 64
    curvature: int = 480
    rank: int = 0
    damping: float = 0.01
    integer_damping: int = 1024
    factor_limit: int = 31
    grid_bits: int = 22
    directions: int = 0
    softness: float = 1.0
    push: float = 0.0
    shape: Push = "gradient"


class Bench:
    """The provider's model `first` and a client's `mine` (state dicts), with samples to take gradients of.

    `forget` and `retain` are the provider's, `own` the client's.
    """

    def __init__(
        self,
        architecture: Mapping[str, Any],
        first: Mapping[str, Tensor],
        mine: Mapping[str, Tensor],
        forget: Part,
        retain: Part,
        own: Part,
        targets: str = "fc1",
    ) -> None:
        self.architecture, self.first, self.mine = architecture, dict(first), dict(mine)
        self.forget, self.retain, self.own = forget, retain, own
        self.names = backbones.target_names(self.model(first), targets)
        self.theta0, self.theta = (backbones.flatten_targets(state, self.names) for state in (first, mine))
        self._curvatures: dict[tuple[int, int], Tensor] = {}

    def model(self, state: Mapping[str, Tensor]) -> nn.Module:
        """A model with these weights."""
        return backbones.with_weights(self.architecture, state)

    def with_targets(self, flat: Tensor) -> nn.Module:
        """The client's model with other target weights (total,)."""
        return self.model(backbones.unflatten(self.mine, self.names, flat))

    @cached_property
    def _evidence(self) -> masks.Evidence:
        model = self.model(self.first)
        moments = (masks.Moments(*gradients.moments(model, *part, self.names)) for part in (self.forget, self.retain))
        return masks.Evidence(self.theta0, *moments)

    def mask(self, how: Repair) -> Tensor:
        """The provider's mask, bool (total,)."""
        runs = None
        if how.density is not None:
            shapes = [tuple(self.first[name].shape) for name in self.names]
            runs = masks.row_runs(shapes, how.density)
        scores = masks.SCORES[how.score].compute(self._evidence)
        mask = torch.zeros(len(self.theta), dtype=torch.bool)
        mask[torch.from_numpy(masks.select(scores, how.budget, how.block_size, runs))] = True
        return mask

    def factors(self, samples: int, size: int) -> Tensor:
        """Full-rank factors (nb, B, B) of the client's Fisher, largest eigenvalue first, before any mask."""
        if (samples, size) not in self._curvatures:
            self._curvatures[samples, size] = self._factors(self.model(self.mine), self.names, samples, size)
        return self._curvatures[samples, size]

    def _factors(self, model: nn.Module, names: list[str], samples: int, size: int) -> Tensor:
        x, y = self.own.x[:samples], self.own.y[:samples]
        return fisher.block_factors(gradients.per_sample(model, x, y, names), size, size)

    def repaired(self, how: Repair, mask: Tensor | None = None) -> Tensor:
        """The client's target weights (total,) after mask and repair."""
        mask = self.mask(how) if mask is None else mask
        if how.curvature == 0:
            return self.theta.masked_fill(mask, 0.0)
        factors = self.factors(how.curvature, how.block_size)
        directions = self.directions(mask, how) if how.directions else None
        blocks, hidden = self.theta.view(-1, how.block_size), mask.view(-1, how.block_size)
        if how.rank == 0:
            return obs.group_obs(blocks, hidden, _damped(factors, how.damping), directions).float().flatten()
        return self._integer(hidden, factors[:, : how.rank], directions, how)

    def recomputed(self, how: Repair) -> Tensor:
        """As `repaired` with whole blocks, but layer by layer with the Fisher of the model repaired so far.

        This is what the paper's authors run; a curvature that is committed to before the mask cannot follow it.
        """
        mask, state, place = self.mask(how), dict(self.mine), 0
        for name in self.names:
            size = state[name].numel()
            part = mask[place : place + size].view(-1, how.block_size)
            factors = self._factors(self.model(state), [name], how.curvature, how.block_size)
            blocks = state[name].reshape(-1, how.block_size)
            new = obs.group_obs(blocks, part, _damped(factors, how.damping)).float()
            state[name], place = new.reshape(state[name].shape), place + size
        return backbones.flatten_targets(state, self.names)

    def directions(self, mask: Tensor, how: Repair) -> Directions:
        """The provider's forget directions at its masked model: unit rows (nb, q, B), and the push along the first.

        The push is in steps of weight: `even` asks every block for the same step, `push` times the mean size of
        what the mask took from a block; `gradient` shares the same total out in proportion to the forget
        gradient's length in the block, so that blocks which matter more to the forgotten do more.
        """
        state = backbones.unflatten(self.first, self.names, self.theta0.masked_fill(mask, 0.0))
        model, hidden = self.model(state), mask.view(-1, how.block_size)
        mean = gradients.mean_gradient(model, *self.forget, self.names).view(-1, how.block_size)
        mean = mean.masked_fill(hidden, 0.0).double()
        length = mean.norm(dim=1, keepdim=True)
        rows = (mean / length.clamp(min=1e-30)).unsqueeze(1)
        if how.directions > 1:
            grads = gradients.per_sample(model, *self.forget, self.names)
            top = fisher.block_factors(grads, how.block_size, how.directions - 1).masked_fill(hidden[:, None], 0.0)
            rows = torch.cat([rows, torch.nn.functional.normalize(top.double(), dim=2, eps=1e-30)], dim=1)
        touched = hidden.any(dim=1, keepdim=True)
        taken = (self.theta0.view(-1, how.block_size) * hidden).double().norm(dim=1)[touched[:, 0]].mean()
        share = torch.ones_like(length) if how.shape == "even" else length / length[touched].mean()
        push = torch.zeros(rows.shape[:2], dtype=torch.float64)
        push[:, :1] = how.push * taken * share
        return Directions(rows * touched.unsqueeze(2), push * touched, 0.0)

    def _integer(self, mask: Tensor, factors: Tensor, directions: Directions | None, how: Repair) -> Tensor:
        """Compensation as it is proved: weights on the grid, small integer factors and directions."""
        whole = lattice.quantise_factors(factors, how.factor_limit)
        if directions is not None:
            rows = lattice.quantise_factors(directions.rows, how.factor_limit)
            push = directions.push * rows.double().norm(dim=2) * 2.0**how.grid_bits
            directions = Directions(rows, push.round().long(), how.softness)
        grid = lattice.to_grid(self.theta, how.grid_bits).view(-1, how.block_size)
        solved = lattice.solve_directed(grid, whole, mask, how.integer_damping, directions)
        untouched = ~mask.any(dim=1, keepdim=True)
        return lattice.from_grid(torch.where(untouched, grid, solved.w_new), how.grid_bits).flatten()


def _damped(factors: Tensor, share: float) -> Tensor:
    """G^T G + share * (its mean diagonal) * I, (nb, B, B). Raises CurvatureError where nothing has curvature."""
    moment = factors.transpose(1, 2) @ factors
    mean = moment.diagonal(dim1=1, dim2=2).mean()
    if not float(mean) > 0:
        raise CurvatureError("every gradient is zero, expected a model that its data still teaches something")
    return moment + share * mean * torch.eye(factors.shape[1])
