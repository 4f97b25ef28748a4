"""The image experiments `class` and `random`: what is compared, and the trade-off curves.

On the client's model, after models are trained as vision_models.py says:

- `mask_only`: the mask's weights are zero, nothing is repaired.
- `plain_obs`: Group-OBS (ZK-APEX Eq. 14) with full blocks of the client's Fisher, in floats.
- `recomputed`: the same, layer by layer, each with the Fisher of the model repaired so far, as the paper's authors
  run it; a curvature that is committed to before the mask cannot follow.
- `integer_obs`: the first of the two at low rank and in integers, as it is proved (lattice.py).
- `forget_safe`: in integers, orthogonal block by block to the provider's mean forget gradient at its masked model.
- `proposed`: in integers, with a push against remembering.
- `gradient_ascent`, `scrub`: the baselines, on the client's model, from the forget set.
- `exact`: the gold standard. Where the client's data holds the class to forget, `exact` personalises on that data
  without the class, which is what forgetting means for that client, and `exact_with_class` on all of it.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor, nn

from unlearning import backbones, baselines, directions, evaluate, fisher, gradients, lattice, losses, masks, obs
from unlearning.datasets import Part
from unlearning.obs import Directions
from unlearning.personalize import Training
from unlearning.progress import Progress, part_of
from unlearning.reproduce import compensation, vision_models, vision_report
from unlearning.reproduce.steps import Steps, plain
from unlearning.reproduce.vision_models import HOLDING, LACKING, Data, Models, Size, State

METHODS: Final = (
    "before",
    "mask_only",
    "plain_obs",
    "recomputed",
    "integer_obs",
    "forget_safe",
    "proposed",
    "gradient_ascent",
    "scrub",
    "exact",
)
WITH_CLASS: Final = "exact_with_class"
_BATCH: Final = 64
_RETAINED_RANK: Final = 16  # of the provider's retained curvature in a block
_FORGOTTEN: Final = 512  # of the forget set: what the baselines are given


class Operator(NamedTuple):
    """Everything that the mask and the compensation depend on. `push` 0 with directions is `forget_safe`.

    `push` is the mean size over blocks of the step away from remembering, in units of the root mean square of what
    the mask takes from the provider's blocks; a block's own step is in proportion to its direction's length.
    `cleaning`: the damping, as a share of the mean retained curvature, with which a direction is
    (F_retain + damping)^-1 times the mean forget gradient; None for the gradient itself. That gradient is one of
    the `signal` (losses.SIGNALS), less `contrast` times the same over retained samples.
    """

    budget: float = 0.01
    score: str = "ratio"
    density: float | None = None
    block_size: int = 64
    rank: int = 8
    directed: bool = True
    push: float = 0.4
    cleaning: float | None = 0.3
    signal: str = "loss"
    contrast: float = 0.0


class Setting(NamedTuple):
    """One experiment. `direction_samples`: the most samples of either kind in the mean gradients of directions."""

    size: Size
    operator: Operator
    gradients: int = 480
    direction_samples: int = 480
    factor_limit: int = 31
    integer_damping: int = 1024
    grid_bits: int = 22
    float_damping: float = 0.01  # of the mean curvature, for full blocks
    ascent: Training = Training(1, 1e-4, weight_decay=0.0)
    scrub: baselines.Scrub = baselines.Scrub(epochs=1, max_epochs=1, lr=1e-4)
    tests: int = 3000
    curve_tests: int = 500


CLASS: Final = Setting(vision_models.CLASS, Operator())
RANDOM: Final = Setting(
    vision_models.RANDOM,
    Operator(budget=0.0025, push=0.8, signal="probability", contrast=1.0),
    direction_samples=4_000,
    tests=10_000,
    curve_tests=2_000,
)


def run_class(
    seeds: Sequence[int], out: Path, progress: Progress | None = None, *, work: Path, setting: Setting = CLASS
) -> dict[str, Any]:
    """Forget one class. Writes class.md and its plots into `out`; returns the figures. See reproduce.run."""
    return _run("class", seeds, out, progress, work, setting)


def run_random(
    seeds: Sequence[int], out: Path, progress: Progress | None = None, *, work: Path, setting: Setting = RANDOM
) -> dict[str, Any]:
    """Forget samples drawn at random. Writes random.md; returns the figures. See reproduce.run."""
    return _run("random", seeds, out, progress, work, setting)


def _run(
    name: str, seeds: Sequence[int], out: Path, progress: Progress | None, work: Path, setting: Setting
) -> dict[str, Any]:
    found = []
    for number, seed in enumerate(seeds):
        report = part_of(progress, number / len(seeds), (number + 1) / len(seeds))
        found.append(one_seed(name, setting, seed, work, report))
    return vision_report.write(name, out, seeds, setting, found)


def one_seed(
    name: str, setting: Setting, seed: int, work: Path, progress: Progress | None = None
) -> dict[str, Any]:
    """By client: every method's figures, and the curves: {client: {"methods": {...}, "curves": {...}}}."""
    size, data = setting.size, vision_models.draw(setting.size, seed)
    training = Steps(
        work / "vision-models",
        {"seed": seed, "size": plain(size)},
        part_of(progress, 0.0, 0.6),
        2 + 2 * len(size.clients),
    )
    models = vision_models.train(size, data, seed, training)
    expected = len(size.clients) * (len(METHODS) + 2)
    steps = Steps(work / name, {"seed": seed, "setting": plain(setting)}, part_of(progress, 0.6, 1.0), expected)
    provider = Provider(setting, data, models.first)
    found = {}
    for client in size.clients:
        repaired = Client(setting, data, models, client, provider, seed)
        methods = {
            method: steps.figures(f"{client}-{method}", functools.partial(repaired.judged, method))
            for method in repaired.methods
        }
        found[client] = {"methods": methods, "curves": steps.figures(f"{client}-curves", repaired.curves)}
    return found


class Provider:
    """Makes masks and forget directions, from its own model and data alone."""

    def __init__(self, setting: Setting, data: Data, first: State) -> None:
        self.setting, self.data, self.first = setting, data, first
        self.shape = vision_models.architecture(setting.size)
        self.names = backbones.target_names(self._model(first))
        self.theta = backbones.flatten_targets(first, self.names)
        self._scores: dict[str, Tensor] = {}
        self._means: dict[tuple[bytes, str, float], Tensor] = {}
        self._retained: dict[int, Tensor] = {}

    def mask(self, how: Operator) -> Tensor:
        """The weights to zero, bool (total,)."""
        runs = None
        if how.density is not None:
            runs = masks.row_runs([self.first[name].shape for name in self.names], how.density)
        chosen = masks.select(self._score(how.score), how.budget, how.block_size, runs)
        return masks.as_bool(chosen, len(self.theta))

    def directions(self, mask: Tensor, how: Operator) -> Directions:
        """Integer forget directions and their push: each block's in proportion to its forget gradient."""
        forget = self._mean(mask, how).reshape(-1, how.block_size)
        if how.cleaning is not None:
            forget = self._cleaned(forget, how) * ~mask.reshape(-1, how.block_size)
        rows = lattice.quantise_factors(forget.unsqueeze(1), self.setting.factor_limit)
        length = forget.norm(dim=1, keepdim=True)
        size = how.push * self._lost(mask) * how.block_size**0.5
        push = size * length / length.mean().clamp(min=1e-30) * rows.double().norm(dim=2)
        return Directions(rows, (push * 2.0**self.setting.grid_bits).round().long(), compensation.SOFTNESS)

    def _cleaned(self, forget: Tensor, how: Operator) -> Tensor:
        """Forget gradients (nb, B) turned away from what retained samples need: a step that costs them least."""
        if how.block_size not in self._retained:
            sample = self.data.retain.first(self.setting.gradients)
            grads = gradients.per_sample(self._model(self.first), *sample, self.names, _BATCH)
            self._retained[how.block_size] = fisher.block_factors(grads, how.block_size, _RETAINED_RANK)
        return directions.cleaned(forget.unsqueeze(1), self._retained[how.block_size], how.cleaning or 0.0).squeeze(
            1
        )

    def _lost(self, mask: Tensor) -> float:
        """What the mask takes, per weight: the unit of the push. From the provider's weights."""
        return float(torch.where(mask, self.theta, 0.0).double().square().mean().sqrt())

    def _score(self, name: str) -> Tensor:
        if name not in self._scores:
            forget, retain = (self._moments(part) for part in (self.data.forget, self.data.retain))
            self._scores[name] = masks.SCORES[name].compute(masks.Evidence(self.theta, forget, retain))
        return self._scores[name]

    def _moments(self, part: Part) -> gradients.Moments:
        sample = part.first(self.setting.gradients)
        return gradients.moments(self._model(self.first), *sample, self.names, _BATCH)

    def _mean(self, mask: Tensor, how: Operator) -> Tensor:
        """The mean forget gradient at the masked model, where it points back to what was removed; 0 on the mask."""
        key = mask.numpy().tobytes(), how.signal, how.contrast
        if key not in self._means:
            model = self._model(backbones.masked(self.first, self.names, mask))
            signal = losses.SIGNALS[how.signal]
            forget, retain = (part.first(self.setting.direction_samples) for part in self.data[:2])
            found = gradients.contrasted(model, forget, retain, self.names, signal=signal, contrast=how.contrast)
            self._means[key] = found.masked_fill(mask, 0.0).double()
        return self._means[key]

    def _model(self, state: State) -> nn.Module:
        return backbones.with_weights(self.shape, state)


class Client:
    """One client's model: what it commits to before any mask, and its repair after."""

    def __init__(
        self, setting: Setting, data: Data, models: Models, client: str, provider: Provider, seed: int
    ) -> None:
        self.setting, self.data, self.provider, self.seed, self.name = setting, data, provider, seed, client
        self.mine, self.shape, self.names = models.mine[client], provider.shape, provider.names
        forgets = setting.size.forget_class is not None
        self.gold = models.gold[LACKING if forgets else client]
        self.gold_with_class = models.gold[client] if forgets and client == HOLDING else None
        self.theta = backbones.flatten_targets(self.mine, self.names)
        self._moment: dict[int, Tensor] = {}

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that make sense for this client."""
        return METHODS if self.gold_with_class is None else (*METHODS, WITH_CLASS)

    def judged(self, method: str) -> dict[str, Any]:
        """A method's figures against the gold standard."""
        data, tests = self.data, self.setting.tests
        parts = (data.forget, data.held_out, data.retain_test, data.personal_test)
        domains = evaluate.Domains(*(part.first(tests) for part in parts))
        model = self.unlearned(method)
        return evaluate.report(model, domains, self._model(self.gold), seed=self.seed)._asdict()

    def unlearned(self, method: str) -> nn.Module:
        """The client's model after one of its methods."""
        forget = self.data.forget.first(_FORGOTTEN)
        if method == "gradient_ascent":
            return baselines.gradient_ascent(self._model(self.mine), forget, self.setting.ascent, self.seed)
        if method == "scrub":
            own = self.own
            return baselines.scrub(self._model(self.mine), forget, own, self.setting.scrub, self.seed)
        if method in ("exact", WITH_CLASS):
            gold = self.gold if method == "exact" or self.gold_with_class is None else self.gold_with_class
            return self._model(gold)
        return self._model(self.mine) if method == "before" else self._with(self.weights(method))

    @property
    def own(self) -> Part:
        """The client's data that is to be kept."""
        personal, label = self.data.personal[self.name], self.setting.size.forget_class
        return personal if label is None else personal.at(personal.y != label)

    def weights(self, method: str) -> Tensor:
        """The target weights (total,) after the mask and one of the ways to repair."""
        how = self.setting.operator
        mask = self.provider.mask(how)
        if method == "mask_only":
            return self.theta.masked_fill(mask, 0.0)
        if method == "plain_obs":
            blocks, hidden = (each.reshape(-1, how.block_size) for each in (self.theta, mask))
            return obs.group_obs(blocks, hidden, self._full(how.block_size)).float().flatten()
        if method == "recomputed":
            return self._layer_by_layer(mask, how.block_size)
        if method == "integer_obs":
            how = how._replace(directed=False)
        elif method == "forget_safe":
            how = how._replace(push=0.0)
        return self.integer(mask, how)

    def _layer_by_layer(self, mask: Tensor, size: int) -> Tensor:
        """Group-OBS with full blocks, the Fisher of a layer taken after the layers before it were repaired."""
        state, start = dict(self.mine), 0
        for name in self.names:
            weights = state[name]
            hidden = mask[start : start + weights.numel()].reshape(-1, size)
            factors = self._fisher(self._model(state), [name], size)
            curvature = compensation.damped(factors, self.setting.float_damping)
            repaired = obs.group_obs(weights.reshape(-1, size), hidden, curvature)
            state[name], start = repaired.float().reshape(weights.shape), start + weights.numel()
        return backbones.flatten_targets(state, self.names)

    def integer(self, mask: Tensor, how: Operator) -> Tensor:
        """Compensation as it is proved: on the grid, with integer factors of low rank, and integer directions."""
        factors = self._factors(how.block_size)[:, : how.rank]
        away = self.provider.directions(mask, how) if how.directed else None
        return compensation.in_integers(self.theta, mask, factors, away, self.setting)

    def curves(self) -> dict[str, Any]:
        """Forget and personal accuracy over each of the operator's numbers, the others as they are.

        Nothing for the client whose data lacks what is to be forgotten: there every push will do.
        """
        if self.name == LACKING:
            return {}
        how = self.setting.operator
        found: dict[str, Any] = {}
        for number, values in vision_report.CURVES.items():
            found[number] = []
            for value in values:
                changed = how._replace(**{number: value})
                mask = self.provider.mask(changed)
                plain_too = number not in ("push", "density")
                for method in ("integer_obs", "proposed") if plain_too else ("proposed",):
                    weights = self.integer(mask, changed._replace(directed=method == "proposed"))
                    found[number].append({"value": value, "method": method} | self._briefly(weights))
        return found

    def _briefly(self, weights: Tensor) -> dict[str, float]:
        model, tests = self._with(weights), self.setting.curve_tests
        forgotten = self.data.forget if self.setting.size.forget_class is None else self.data.held_out
        parts = forgotten.first(tests), self.data.personal_test.first(tests)
        forget, personal = (evaluate.accuracy(model, *part) for part in parts)
        return {"forget_acc": forget, "personal_acc": personal}

    def _factors(self, block_size: int) -> Tensor:
        """All factors of the client's curvature (nb, B, B), strongest first; taken before any mask."""
        if block_size not in self._moment:
            self._moment[block_size] = self._fisher(self._model(self.mine), self.names, block_size)
        return self._moment[block_size]

    def _fisher(self, model: nn.Module, names: Sequence[str], block_size: int) -> Tensor:
        sample = self.data.personal[self.name].first(self.setting.gradients)
        grads = gradients.per_sample(model, *sample, names, _BATCH)
        return fisher.block_factors(grads, block_size, block_size)

    def _full(self, block_size: int) -> Tensor:
        return compensation.damped(self._factors(block_size), self.setting.float_damping)

    def _with(self, weights: Tensor) -> nn.Module:
        return self._model(backbones.unflatten(self.mine, self.names, weights))

    def _model(self, state: State) -> nn.Module:
        return backbones.with_weights(self.shape, state)
