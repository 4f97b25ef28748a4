"""The long computations as one call each: configuration in, result out.

`compute_mask` is the provider's: from the global model and a forget set to the positions to zero.
`curvature` is the client's: from its model and its own data to the integer factors it commits to.
Both check everything that can be checked before any gradient is taken.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor, nn

from unlearning import backbones, datasets, fisher, gradients, lattice, masks
from unlearning.errors import CurvatureError, DatasetError, MaskError
from unlearning.progress import Progress, part_of, silent

_WEIGHTS_PER_PASS = 4_000_000  # bounds the memory of block moments: this many times block_size floats
_FLOATS_PER_BATCH = 64_000_000  # of per-sample gradients held at once


class Forget(BaseModel):
    """What to forget: one class of the dataset's training part (of source code: one language)."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    label: int = Field(alias="class", ge=0, strict=True)


class MaskConfig(BaseModel):
    """How a mask is made. `samples`: the most gradients taken of the forget set, and of the rest."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    dataset: str
    forget: Forget
    budget: float = Field(default=0.04, gt=0, lt=0.5, strict=True)
    score: Literal["saliency", "ratio"] = "saliency"
    samples: int = Field(default=480, ge=1, strict=True)
    seed: int = Field(default=0, ge=0, lt=2**32, strict=True)
    targets: str = backbones.DEFAULT_PATTERN
    block_size: int = Field(default=64, ge=2, strict=True, alias="blockSize")

    @classmethod
    def parse(cls, config: Mapping[str, Any]) -> MaskConfig:
        """Check a mapping. Raises MaskError naming the first field that is wrong."""
        try:
            return cls.model_validate(dict(config))
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
            raise MaskError(f"mask configuration {field}: got {first['input']!r}; {first['msg']}") from error


class MaskResult(NamedTuple):
    """Ascending int64 positions (count,), the length of the flat vector, and all that made them."""

    indices: np.ndarray
    total: int
    recipe: dict[str, Any]


def compute_mask(
    architecture: Mapping[str, Any],
    weights_path: str | Path,
    config: Mapping[str, Any],
    progress: Progress | None = None,
) -> MaskResult:
    """The mask for a global model and a MaskConfig, with the record from which it can be computed again.

    Raises MaskError for a bad configuration or a mask without use, DatasetError for an unknown dataset or an
    empty forget set, ArchitectureError for weights that do not fit.
    """
    options = MaskConfig.parse(config)
    forget, retain = _forget_and_retain(options)
    model = backbones.with_weights(architecture, backbones.load(weights_path))
    names = backbones.target_names(model, options.targets)
    theta = backbones.flatten_targets(model.state_dict(), names)
    if options.score == "ratio":
        forget_moments = _moments(model, forget, names, part_of(progress, 0.0, 0.45))
        retain_moments = _moments(model, retain, names, part_of(progress, 0.45, 0.9))
        scores = masks.ratio(theta, forget_moments, retain_moments)
    else:
        scores = masks.saliency(theta, *_moments(model, forget, names, part_of(progress, 0.0, 0.9)))
    indices = masks.select(scores, options.budget, options.block_size)
    (progress or silent)(1.0, f"{len(indices)} of {len(theta)} weights masked")
    record = options.model_dump(by_alias=True) | {
        "targetNames": names,
        "forgetSamples": len(forget.y),
        "retainSamples": len(retain.y) if options.score == "ratio" else 0,
        "dampingFraction": masks.DAMPING_FRACTION,
        "software": software(),
    }
    return MaskResult(indices, len(theta), record)


def software() -> dict[str, str]:
    """The versions a result may depend on."""
    used = {"python": platform.python_version()} | {name: version(name) for name in ("torch", "timm", "numpy")}
    try:
        return used | {"transformers": version("transformers")}
    except PackageNotFoundError:  # an extra: only language models need it
        return used


def curvature(
    architecture: Mapping[str, Any],
    weights_path: str | Path,
    data_npz: str | Path,
    targets: Sequence[str],
    block_size: int = 64,
    rank: int = 8,
    factor_limit: int = 31,
    samples: int = 480,
    seed: int = 0,
    progress: Progress | None = None,
) -> Tensor:
    """Integer curvature factors (nblocks, rank, block_size) int8 of a model on at most `samples` of its data.

    Raises CurvatureError for sizes that do not fit together or fewer samples than the rank (the factors would
    not have that rank), and what loading the weights and the data raises.
    """
    if not 1 <= factor_limit <= 127:
        raise CurvatureError(f"got factor limit {factor_limit}, expected 1 to 127: factors are stored as int8")
    if not 1 <= rank <= block_size:
        raise CurvatureError(f"got rank {rank}, expected between 1 and the block size {block_size}")
    part = datasets.load_npz(data_npz)
    if min(samples, len(part.y)) < rank:
        raise CurvatureError(
            f"got {min(samples, len(part.y))} samples, expected at least the rank {rank}; "
            "give more data or a lower rank"
        )
    model = backbones.with_weights(architecture, backbones.load(weights_path))
    sizes = _sizes(model, targets, block_size)
    chosen = _sample(part, samples, seed)
    passes = _passes(targets, sizes)
    factors = []
    for number, names in enumerate(passes):
        report = part_of(progress, number / len(passes), (number + 1) / len(passes))
        grads = _gradients(model, chosen, names, sum(sizes[name] for name in names), report)
        floats = fisher.block_factors(grads, block_size, rank)
        factors.append(lattice.quantise_factors(floats, factor_limit).to(torch.int8))
    return torch.cat(factors)


def _forget_and_retain(options: MaskConfig) -> tuple[datasets.Part, datasets.Part]:
    train = datasets.load(options.dataset).train
    classes = datasets.classes(options.dataset, train)
    forgotten = classes == options.forget.label
    if not forgotten.any() or forgotten.all():
        raise DatasetError(
            f"class {options.forget.label} has {int(forgotten.sum())} of {len(train.y)} training samples of "
            f"{options.dataset}, expected some but not all; choose a class of the dataset"
        )
    parts = (datasets.Part(train.x[keep], train.y[keep]) for keep in (forgotten, ~forgotten))
    forget, retain = (_sample(part, options.samples, options.seed) for part in parts)
    return forget, retain


def _sample(part: datasets.Part, samples: int, seed: int) -> datasets.Part:
    """At most `samples` of a part, drawn without replacement from `seed`, in the part's order."""
    chosen = np.sort(np.random.default_rng(seed).permutation(len(part.y))[:samples])
    return datasets.Part(part.x[chosen], part.y[chosen])


def _moments(
    model: nn.Module, part: datasets.Part, names: Sequence[str], progress: Progress
) -> tuple[Tensor, Tensor]:
    """Mean gradient and mean squared gradient, (total,) each."""
    gradient = gradients.mean_gradient(model, part.x, part.y, names)
    return gradient, fisher.diagonal(_gradients(model, part, names, gradient.numel(), progress))


def _gradients(
    model: nn.Module, part: datasets.Part, names: Sequence[str], total: int, progress: Progress
) -> Iterator[Tensor]:
    batch = max(1, min(64, _FLOATS_PER_BATCH // total))
    return _reported(gradients.per_sample(model, part.x, part.y, names, batch), len(part.y), progress)


def _reported(pieces: Iterable[Tensor], samples: int, progress: Progress) -> Iterator[Tensor]:
    done = 0
    for piece in pieces:
        yield piece
        done += len(piece)
        progress(done / samples, f"gradients of {done} of {samples} samples")


def _sizes(model: nn.Module, targets: Sequence[str], block_size: int) -> dict[str, int]:
    """Weights per target. Raises CurvatureError where blocks would straddle two tensors."""
    state = model.state_dict()
    sizes = {name: backbones.flatten_targets(state, [name]).numel() for name in targets}
    for name, size in sizes.items():
        if size % block_size:
            raise CurvatureError(f"{name} has {size} weights, expected a multiple of the block size {block_size}")
    if not sizes:
        raise CurvatureError("got no target tensors, expected at least one; take names from target_names")
    return sizes


def _passes(targets: Sequence[str], sizes: Mapping[str, int]) -> list[list[str]]:
    """Consecutive targets grouped so that one pass over the data keeps a bounded number of block moments."""
    passes: list[list[str]] = []
    held = 0
    for name in targets:
        if not passes or held + sizes[name] > _WEIGHTS_PER_PASS:
            passes.append([])
            held = 0
        passes[-1].append(name)
        held += sizes[name]
    return passes
