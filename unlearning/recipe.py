"""The long computations as one call each: configuration in, result out.

`compute_mask` is the provider's: from the global model and a forget set to the positions to zero, and to the forget
directions where they are asked for. `curvature` is the client's: from its model and its own data to the integer
factors it commits to, before any mask is known. Both check everything that can be checked before any gradient is
taken.

A mask's *recipe* is a JSON object with all that made it. Its digest is the SHA-256 of its canonical JSON (members
sorted, no spaces, UTF-8). It holds the digests of its results, so that whoever knows the recipe's digest can tell
whether a mask is the one it speaks of. The secret of noise is not part of it, only that secret's digest.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from unlearning import backbones, datasets, directions, fisher, gradients, lattice, losses, maskfile, masks
from unlearning.errors import ArchitectureError, CurvatureError, MaskError
from unlearning.maskconfig import DirectionsConfig, MaskConfig
from unlearning.obs import Directions
from unlearning.progress import Progress, part_of, silent

BATCH = 16  # samples per pass: bounds what a large model's activations and traces take
_GRID_BITS = 22  # of the default circuit release: in what the push of forget directions is counted
_RETAINED_RANK = 16  # of the retained data's curvature in a block, when directions are cleaned
SOFTWARE = ("torch", "timm", "transformers", "numpy")


class MaskResult(NamedTuple):
    """Ascending int64 positions (count,), the length of the flat vector, all that made them, and the files.

    `file` is the mask's (maskfile.py), `directions_file` that of the forget directions (directions.py), if any.
    """

    indices: np.ndarray
    total: int
    recipe: dict[str, Any]
    file: bytes
    directions: Directions | None = None
    directions_file: bytes | None = None


def recipe_digest(recipe: Mapping[str, Any]) -> str:
    """SHA-256, in hex, of a recipe's canonical JSON. Raises ValueError for what JSON cannot hold."""
    text = json.dumps(recipe, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def compute_mask(
    architecture: Mapping[str, Any],
    weights_path: str | Path,
    config: Mapping[str, Any],
    progress: Progress | None = None,
) -> MaskResult:
    """The mask for a global model and a MaskConfig, with the record from which it can be computed again.

    Raises MaskError for a bad configuration or a mask without use, DatasetError for an unknown dataset or an
    empty forget set, ArchitectureError for weights that do not fit or are not finite.
    """
    options = MaskConfig.parse(config)
    forget, retain = _forget_and_retain(options)
    model, names, theta = _model(architecture, weights_path, options.targets)
    runs = options.runs([tuple(model.get_parameter(name).shape) for name in names])
    _check_possible(options, theta.numel(), runs, len(forget.y))
    if options.directions is not None:
        _check_blocks(model, names, options.block_size)
    score = masks.SCORES[options.score]
    compared = options.directions is not None and options.directions.compares
    share = 0.9 if options.directions is None else 0.6 if not compared else 0.45
    split = share / 2 if score.retain else share
    on_forget = gradients.moments(model, *forget, names, BATCH, part_of(progress, 0.0, split))
    on_retain = None
    if score.retain:
        on_retain = gradients.moments(model, *retain, names, BATCH, part_of(progress, split, share))
    scores = score.compute(masks.Evidence(theta, on_forget, on_retain))
    if options.noise is not None:
        scores = directions.noisy(scores, options.noise.scores, options.noise.seed("scores"))
    indices = masks.select(scores, options.budget, options.block_size, runs)
    file = maskfile.format_mask(len(theta), indices, options.chunk_weights)
    record = options.record() | {
        "targetNames": names,
        "forgetSamples": len(forget.y),
        "retainedSamples": len(retain.y) if score.retain or compared else 0,
        "dampingFraction": masks.DAMPING_FRACTION,
        "software": software(),
        "maskSha256": hashlib.sha256(file).hexdigest(),
    }
    made, made_file = None, None
    if options.directions is not None:
        made, mask = _directions(model, (forget, retain), names, indices, options, part_of(progress, share, 0.95))
        made_file = directions.format_directions(made, mask, file)
        record["directionsSha256"] = hashlib.sha256(made_file).hexdigest()
    (progress or silent)(1.0, f"{len(indices)} of {len(theta)} weights masked")
    return MaskResult(indices, len(theta), record, file, made, made_file)


def _check_possible(options: MaskConfig, total: int, runs: masks.Runs | None, samples: int) -> None:
    """Raise MaskError for what no scores could make good."""
    if round(options.budget * total) < 1:
        raise MaskError(f"budget {options.budget} of {total} weights masks none of them; raise it")
    if runs is not None:
        masks.check_runs(options.budget, total, options.block_size, runs)
    if options.directions is not None and options.directions.count > samples:
        raise MaskError(
            f"got {options.directions.count} forget directions from {samples} samples, expected at most as many"
        )


def software() -> dict[str, str]:
    """The versions a result may depend on; what is not installed made no difference."""
    found = {"python": platform.python_version()}
    for name in SOFTWARE:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


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
    model = backbones.with_weights(architecture, _finite(backbones.load(weights_path)))
    _check_blocks(model, targets, block_size)
    chosen = _sample(part, samples, seed)
    with gradients.spooled(model, *chosen, targets, BATCH, part_of(progress, 0.0, 0.5)) as spool:
        report = part_of(progress, 0.5, 1.0)
        made = []
        for number, name in enumerate(targets):
            floats = fisher.layer_factors(spool.trace(name), block_size, rank)
            made.append(lattice.quantise_factors(floats, factor_limit).to(torch.int8))
            report((number + 1) / len(targets), f"factors of {number + 1} of {len(targets)} layers")
    return torch.cat(made)


def _model(
    architecture: Mapping[str, Any], weights_path: str | Path, pattern: str
) -> tuple[nn.Module, list[str], Tensor]:
    """The model, its targets' names, and their flat vector."""
    model = backbones.with_weights(architecture, _finite(backbones.load(weights_path)))
    names = backbones.target_names(model, pattern)
    return model, names, backbones.flatten_targets(model.state_dict(), names)


def _finite(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state, if every number in it is one. Raises ArchitectureError naming the first tensor that is not."""
    for name, tensor in state.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise ArchitectureError(f"{name} holds NaN or infinity; expected a trained model's weights")
    return state


def _forget_and_retain(options: MaskConfig) -> tuple[datasets.Part, datasets.Part]:
    train = datasets.load(options.dataset).train
    forgotten = options.forget.chosen(options.dataset, train)
    sizes = options.samples, options.retain_samples or options.samples
    parts = train.at(forgotten), train.at(~forgotten)
    forget, retain = (_sample(part, size, options.seed) for part, size in zip(parts, sizes, strict=True))
    return forget, retain


def _sample(part: datasets.Part, samples: int, seed: int) -> datasets.Part:
    """At most `samples` of a part, drawn without replacement from `seed`, in the part's order."""
    chosen = np.sort(np.random.default_rng(seed).permutation(len(part.y))[:samples])
    return part.at(chosen)


def _directions(
    model: nn.Module,
    parts: tuple[datasets.Part, datasets.Part],
    names: Sequence[str],
    indices: np.ndarray,
    options: MaskConfig,
    progress: Progress,
) -> tuple[Directions, Tensor]:
    """Published forget directions, from parts to forget and to retain, and the mask (nb, B) they belong to.

    What other data needs is asked of the model as it is, before the mask.
    """
    wanted, size = options.directions, options.block_size
    assert wanted is not None, "only called where directions are asked for"
    state = model.state_dict()
    theta = backbones.flatten_targets(state, names)
    mask = masks.as_bool(indices, len(theta))
    factors = None
    if wanted.cleaning is not None:
        factors = _factors(model, parts[1], names, size, part_of(progress, 0.0, 0.7))
    if wanted.at == "masked":
        model.load_state_dict(backbones.masked(state, names, mask))
    report = part_of(progress, 0.0 if factors is None else 0.7, 1.0)
    rows = _forget_rows(model, parts, names, ~mask.view(-1, 1, size), wanted, report)
    if factors is not None and wanted.cleaning is not None:
        rows = directions.cleaned(rows, factors, wanted.cleaning)
    if options.noise is not None:
        rows = directions.noisy(rows, options.noise.directions, options.noise.seed("directions"))
    w, blocks = lattice.to_grid(theta, _GRID_BITS).view(-1, size), mask.view(-1, size)
    made = directions.published(
        rows, w, blocks, wanted.limit, wanted.softness, wanted.push, proportional=wanted.proportional,
        square=wanted.square,
    )  # fmt: skip
    return made, blocks


def _factors(model: nn.Module, part: datasets.Part, names: Sequence[str], size: int, progress: Progress) -> Tensor:
    """Curvature factors (nb, r, B) of the retained data, for the cleaning of directions."""
    rank = min(_RETAINED_RANK, size, len(part.y))
    with gradients.spooled(model, *part, names, BATCH, progress) as spool:
        return torch.cat([fisher.layer_factors(spool.trace(name), size, rank) for name in names])


def _forget_rows(
    model: nn.Module,
    parts: tuple[datasets.Part, datasets.Part],
    names: Sequence[str],
    free: Tensor,
    wanted: DirectionsConfig,
    progress: Progress,
) -> Tensor:
    """The mean gradient (nb, 1, B), or the top ones (nb, q, B) turned its way, on `free` weights (nb, 1, B)."""
    (forget, retain), size = parts, free.shape[2]
    if wanted.kind == "mean":
        signal = losses.SIGNALS[wanted.signal]
        mean = gradients.contrasted(model, forget, retain, names, BATCH, signal, wanted.contrast)
        return mean.view(-1, 1, size) * free
    rows, means = [], []
    with gradients.spooled(model, *forget, names, BATCH, progress) as spool:
        for name in names:  # one layer's trace at a time: all of them may not fit into memory
            trace = spool.trace(name)
            rows.append(fisher.layer_factors(trace, size, wanted.count))
            means.append(trace.total().view(-1, size))
    return directions.oriented(torch.cat(rows) * free, torch.cat(means))


def _check_blocks(model: nn.Module, targets: Sequence[str], block_size: int) -> None:
    """Raises CurvatureError where blocks would straddle two tensors."""
    state = model.state_dict()
    for name in targets:
        size = backbones.flatten_targets(state, [name]).numel()
        if size % block_size:
            raise CurvatureError(f"{name} has {size} weights, expected a multiple of the block size {block_size}")
    if not targets:
        raise CurvatureError("got no target tensors, expected at least one; take names from target_names")
