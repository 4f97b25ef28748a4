"""The language-model case of ZK-APEX at small size: code in four languages, one to forget, one personal.

A byte-level OPT learns Python, Go and Erlang from their standard libraries. The client makes it its own by LoRA
on Rust. Go is to be forgotten: the gold standard is the same model trained on Python and Erlang alone, then
personalised in the same way. What is compared, on the client's model:

- `mask_only`: the mask's weights are zero, nothing is repaired.
- `plain_obs`: Group-OBS (ZK-APEX Eq. 14) with full blocks of the client's Fisher, in floats.
- `integer_obs`: the same with rank 8 and in integers, as it is proved (lattice.py).
- `forget_safe`, `forget_safe_push`: Group-OBS whose change is orthogonal, block by block, to the mean forget
  gradient at the masked global model, or goes a little the other way (obs.py).
- `forget_safe_integer`: the latter with rank 8 and in integers.
- `gradient_ascent`, `scrub`: the baselines, on the client's model.
- `exact`: the gold standard.

Accuracies are those of the next byte, on files that no training saw.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from unlearning import (
    backbones,
    baselines,
    corpora,
    datasets,
    evaluate,
    fisher,
    gradients,
    lattice,
    masks,
    obs,
    personalize,
)
from unlearning.datasets import Part
from unlearning.errors import DatasetError
from unlearning.obs import Directions
from unlearning.personalize import Personalisation, Training
from unlearning.progress import Progress, part_of
from unlearning.reproduce import compensation, language_report
from unlearning.reproduce.steps import Steps, plain

FORGET, PERSONAL = "code-go", "code-rust"
RETAIN: Final = ("code-python", "code-erlang")
METHODS: Final = (
    "before",
    "mask_only",
    "plain_obs",
    "integer_obs",
    "forget_safe",
    "forget_safe_push",
    "forget_safe_integer",
    "gradient_ascent",
    "scrub",
    "exact",
)
_STEPS = 4 + len(METHODS) + 1  # of one seed


class Setting(NamedTuple):
    """Sizes and rates of the experiment; `windows` of 128 bytes are trained on in each language."""

    width: int = 128
    depth: int = 2
    windows: int = 2048
    personal_windows: int = 1024
    tests: int = 384
    gradients: int = 480
    training: Training = Training(3, 3e-3, batch=16, weight_decay=0.1)
    personalisation: Personalisation = Personalisation(Training(3, 3e-3, batch=16, weight_decay=0.0), "lora")
    ascent: Training = Training(1, 5e-5, batch=16, weight_decay=0.0)
    scrub: baselines.Scrub = baselines.Scrub(epochs=2, max_epochs=2, lr=7e-5, batch=16, max_batch=16)
    budget: float = 0.02
    budgets: tuple[float, ...] = (0.005, 0.01, 0.02, 0.04, 0.08)
    block_size: int = 64
    damping: float = 0.01  # of the mean curvature
    push: float = 0.5  # of the mean size of plain Group-OBS's component along the forget direction
    rank: int = 8
    grid_bits: int = 22
    factor_limit: int = 31
    integer_damping: int = 1024

    @property
    def architecture(self) -> dict[str, Any]:
        """The model, as backbones builds it."""
        return {
            "library": "transformers",
            "model": "opt",
            "vocab_size": corpora.VOCABULARY,
            "hidden_size": self.width,
            "word_embed_proj_dim": self.width,
            "ffn_dim": 4 * self.width,
            "num_hidden_layers": self.depth,
            "num_attention_heads": max(1, self.width // 32),
            "max_position_embeddings": corpora.LENGTH,
            "dropout": 0.0,
        }


class Data(NamedTuple):
    """Training and test windows of each language, by its name."""

    train: dict[str, Part]
    test: dict[str, Part]


def run(
    seeds: Sequence[int],
    out: Path,
    progress: Progress | None = None,
    *,
    work: Path,
    setting: Setting | None = None,
) -> dict[str, Any]:
    """Run the experiment once with each seed, write language.md and its plot into `out`, return the figures.

    Raises DatasetError when a language's files are not there.
    """
    setting, data = setting or Setting(), load(setting or Setting())
    found = []
    for number, seed in enumerate(seeds):
        report = part_of(progress, number / len(seeds), (number + 1) / len(seeds))
        steps = Steps(work / "language", {"seed": seed, "setting": plain(setting)}, report, _STEPS)
        found.append(one_seed(setting, data, seed, steps))
    return language_report.write(out, seeds, plain(setting), found)


def load(setting: Setting) -> Data:
    """The windows, of which every seed sees the same. Raises DatasetError when there are too few."""
    train, test = {}, {}
    for name in (*RETAIN, FORGET, PERSONAL):
        whole = datasets.load(name)
        wanted = setting.personal_windows if name == PERSONAL else setting.windows
        if len(whole.train.y) < wanted or len(whole.test.y) < setting.tests:
            raise DatasetError(
                f"{name} has {len(whole.train.y)} + {len(whole.test.y)} windows, "
                f"expected {wanted} + {setting.tests}"
            )
        train[name], test[name] = whole.train.first(wanted), whole.test.first(setting.tests)
    return Data(train, test)


def one_seed(setting: Setting, data: Data, seed: int, steps: Steps) -> dict[str, Any]:
    """Every method's figures, and the trade-off over budgets: {"methods": {...}, "budgets": [...]}."""
    shape = setting.architecture
    everything = datasets.together([data.train[name] for name in (*RETAIN, FORGET)])
    retained = datasets.together([data.train[name] for name in RETAIN])

    def trained(part: Part, name: str) -> dict[str, Tensor]:
        kept = steps.checkpoint(name)
        return personalize.trained(shape, part, setting.training, seed, checkpoint=kept).state_dict()

    def personal(state: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
        model, own = backbones.with_weights(shape, state), data.train[PERSONAL]
        kept = steps.checkpoint(name)
        return personalize.personalise(model, own, setting.personalisation, seed, checkpoint=kept).state_dict()

    first = steps.weights("global", lambda: trained(everything, "global"))
    mine = steps.weights("personal", lambda: personal(first, "personal"))
    without = steps.weights("retrained", lambda: trained(retained, "retrained"))
    gold = backbones.with_weights(shape, steps.weights("exact", lambda: personal(without, "exact")))
    client = Client(setting, data, first, mine, seed)
    domains = evaluate.Domains(
        data.train[FORGET].first(setting.tests),
        data.test[FORGET],
        datasets.together([data.test[name] for name in RETAIN]),
        data.test[PERSONAL],
    )
    methods = {}
    for name in METHODS:

        def judge(name: str = name) -> dict[str, Any]:
            model = gold if name == "exact" else client.unlearned(name)
            return evaluate.report(model, domains, gold, seed=seed)._asdict()

        methods[name] = steps.figures(name, judge)
    return {"methods": methods, **steps.figures("budgets", client.trade_off)}


class Client:
    """The client's model, and what the mask and the curvature are made of, each computed when first needed."""

    def __init__(
        self,
        setting: Setting,
        data: Data,
        first: Mapping[str, Tensor],
        mine: Mapping[str, Tensor],
        seed: int,
    ) -> None:
        self.setting, self.data, self.seed = setting, data, seed
        self.first, self.mine = dict(first), dict(mine)
        self.names = backbones.target_names(self._model(first), "fc1")
        self.theta0, self.theta = (backbones.flatten_targets(state, self.names) for state in (first, mine))
        self._kept: dict[str, Tensor] = {}

    def unlearned(self, method: str) -> nn.Module:
        """The client's model after one of METHODS but `exact`."""
        if method == "gradient_ascent":
            forget = self.data.train[FORGET].first(self.setting.personal_windows // 2)
            return baselines.gradient_ascent(self._model(self.mine), forget, self.setting.ascent, self.seed)
        if method == "scrub":
            forget = self.data.train[FORGET].first(self.setting.personal_windows // 2)
            own = self.data.train[PERSONAL]
            return baselines.scrub(self._model(self.mine), forget, own, self.setting.scrub, self.seed)
        return self._with(self.theta if method == "before" else self.weights(method, self.setting.budget))

    def weights(self, method: str, budget: float) -> Tensor:
        """The target weights (total,) after the mask of a budget and one of the ways to repair."""
        mask = self._mask(budget)
        if method == "mask_only":
            return torch.where(mask, 0.0, self.theta)
        if method == "integer_obs":
            return self._integer(mask)
        blocks, hidden = self._blocks(self.theta), self._blocks(mask)
        plain = obs.group_obs(blocks, hidden, self._curvature())
        if method == "plain_obs":
            return plain.float().flatten()
        directions = self._directions(mask)
        if method != "forget_safe":
            along = ((plain - blocks).unsqueeze(1) * directions.rows).sum(2)
            size = self.setting.push * float(along.abs().mean())
            directions = directions._replace(push=torch.full_like(directions.push, size))
        if method == "forget_safe_integer":
            return self._integer(mask, directions)
        return obs.group_obs(blocks, hidden, self._curvature(), directions).float().flatten()

    def trade_off(self) -> dict[str, Any]:
        """Forget and personal accuracy over budgets, for the mask and three ways to repair."""
        rows = []
        for budget in self.setting.budgets:
            for method in ("mask_only", "plain_obs", "forget_safe", "forget_safe_push"):
                model = self._with(self.weights(method, budget))
                parts = (self.data.test[FORGET], self.data.test[PERSONAL])
                forget, own = (evaluate.accuracy(model, *part) for part in parts)
                rows.append({"budget": budget, "method": method, "forget_acc": forget, "personal_acc": own})
        return {"budgets": rows}

    def _mask(self, budget: float) -> Tensor:
        """The provider's mask, bool (total,): saliency on Go at the global model."""
        if "scores" not in self._kept:
            model, forget = self._model(self.first), self._sample(FORGET)
            gradient = gradients.mean_gradient(model, *forget, self.names)
            curvature = fisher.diagonal(gradients.per_sample(model, *forget, self.names, 16))
            self._kept["scores"] = masks.saliency(self.theta0, gradient, curvature)
        return masks.as_bool(masks.select(self._kept["scores"], budget, self.setting.block_size), len(self.theta))

    def _curvature(self) -> Tensor:
        """The client's damped curvature in full blocks (nb, B, B), taken before any mask."""
        if "curvature" not in self._kept:
            model, size = self._model(self.mine), self.setting.block_size
            grads = gradients.per_sample(model, *self._sample(PERSONAL), self.names, 16)
            factors = fisher.block_factors(grads, size, size)
            self._kept["factors"] = factors
            self._kept["curvature"] = compensation.damped(factors, self.setting.damping)
        return self._kept["curvature"]

    def _directions(self, mask: Tensor) -> Directions:
        """The provider's mean gradient on Go at the masked global model, which points back: of length 1 a block."""
        model = self._model(backbones.masked(self.first, self.names, mask))
        gradient = gradients.mean_gradient(model, *self._sample(FORGET), self.names)
        rows = self._blocks(torch.where(mask, 0.0, gradient).double()).unsqueeze(1)
        return Directions(functional.normalize(rows, dim=2, eps=1e-30), torch.zeros(len(rows), 1).double(), 0.0)

    def _integer(self, mask: Tensor, directions: Directions | None = None) -> Tensor:
        """Compensation as it is proved: on the grid, with integer factors of low rank, and integer directions."""
        setting, steps = self.setting, 2.0**self.setting.grid_bits
        self._curvature()
        if directions is not None:
            rows = lattice.quantise_factors(directions.rows, setting.factor_limit)
            push = directions.push * rows.double().norm(dim=2) * steps  # in units of the rows times grid steps
            directions = Directions(rows, push.round().long(), compensation.SOFTNESS)
        factors = self._kept["factors"][:, : setting.rank]
        return compensation.in_integers(self.theta, mask, factors, directions, setting)

    def _sample(self, language: str) -> Part:
        return self.data.train[language].first(self.setting.gradients)

    def _blocks(self, flat: Tensor) -> Tensor:
        return flat.reshape(-1, self.setting.block_size)

    def _model(self, state: Mapping[str, Tensor]) -> nn.Module:
        return backbones.with_weights(self.setting.architecture, state)

    def _with(self, flat: Tensor) -> nn.Module:
        return self._model(backbones.unflatten(self.mine, self.names, flat))
