"""Models by description, and their weights by name or as one flat vector. The only module that imports timm.

An architecture is a JSON object: `{"library": "timm", "model": "vision_transformer", ...}` builds timm's
VisionTransformer class from the remaining keys; any other model name, such as `vit_base_patch16_224`, goes
through timm's registry. `"pretrained": true` loads weights from the hub; without it nothing is downloaded.

The flat vector: the target tensors in the order of the list, each flattened row-major, concatenated.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from unlearning.errors import ArchitectureError
from unlearning.torchvision_shim import ensure_torchvision

DEFAULT_PATTERN = "blocks.*.mlp.fc1.weight"
DIGITS_VIT: dict[str, Any] = {
    "library": "timm",
    "model": "vision_transformer",
    "img_size": 8,
    "patch_size": 2,
    "in_chans": 1,
    "num_classes": 10,
    "embed_dim": 64,
    "depth": 4,
    "num_heads": 4,
    # Xavier weights and average pooling: from timm's defaults, made for wider models, this one learns slowly.
    "weight_init": "moco",
    "global_pool": "avg",
    "class_token": False,
}


def build(architecture: Mapping[str, Any]) -> nn.Module:
    """The model an architecture describes, in evaluation mode, with freshly drawn (or pretrained) weights.

    Fresh weights come from torch's global generator: call `torch.manual_seed` first.
    Raises ArchitectureError for an unknown library or model, or arguments the model refuses.
    """
    options = dict(architecture)
    library, name = options.pop("library", None), options.pop("model", None)
    if library != "timm":
        raise ArchitectureError(f'architecture library is {library!r}, expected "timm"; set "library": "timm"')
    if not isinstance(name, str) or not name:
        raise ArchitectureError(f'architecture model is {name!r}, expected a timm model name; set "model"')
    ensure_torchvision()
    import timm

    try:
        if name == "vision_transformer":
            options.pop("pretrained", None)
            model: nn.Module = timm.models.VisionTransformer(**options)
        else:
            model = timm.create_model(name, pretrained=bool(options.pop("pretrained", False)), **options)
    except (TypeError, ValueError, RuntimeError, AssertionError) as error:
        raise ArchitectureError(
            f"timm cannot build {name!r} from {options!r}: {error}; check the architecture's keys"
        ) from error
    return model.eval()


def target_names(model: nn.Module, pattern: str = DEFAULT_PATTERN) -> list[str]:
    """Names of the parameters that match a shell-style pattern, in model order.

    Raises ArchitectureError when none matches.
    """
    names = [name for name, _ in model.named_parameters() if fnmatch.fnmatchcase(name, pattern)]
    if not names:
        raise ArchitectureError(
            f"no parameter matches {pattern!r}, expected at least one; the default is {DEFAULT_PATTERN!r}"
        )
    return names


def save(path: str | Path, state: Mapping[str, Tensor]) -> None:
    """Write named tensors as a safetensors file. The same tensors give the same bytes."""
    save_file({name: tensor.detach().contiguous().cpu() for name, tensor in state.items()}, str(path))


def load(path: str | Path) -> dict[str, Tensor]:
    """Read a safetensors file. Raises ArchitectureError when it is absent or malformed."""
    try:
        return load_file(str(path))
    except (OSError, SafetensorError) as error:
        raise ArchitectureError(f"cannot read weights from {path}: {error}; expected a safetensors file") from error


def with_weights(architecture: Mapping[str, Any], state: Mapping[str, Tensor]) -> nn.Module:
    """The model an architecture describes, holding `state`, in evaluation mode.

    Raises ArchitectureError when a tensor is missing, left over or of another shape.
    """
    model = build({**architecture, "pretrained": False})
    try:
        model.load_state_dict(dict(state), strict=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise ArchitectureError(
            f"the weights do not fit the architecture: {reason}; use the architecture they were trained with"
        ) from error
    return model


def flatten_targets(state: Mapping[str, Tensor], targets: Sequence[str]) -> Tensor:
    """Concatenate the target tensors, each row-major, into one vector of shape (total,).

    Raises ArchitectureError when a target is missing.
    """
    missing = [name for name in targets if name not in state]
    if missing or not targets:
        raise ArchitectureError(f"targets {missing!r} are not among the weights; take names from target_names")
    return torch.cat([state[name].detach().reshape(-1) for name in targets])


def unflatten(state: Mapping[str, Tensor], targets: Sequence[str], flat: Tensor) -> dict[str, Tensor]:
    """A copy of `state` whose target tensors hold the vector `flat` (total,): the inverse of flatten_targets.

    Tensors that are no targets are passed on as they are. Raises ArchitectureError on a wrong length.
    """
    total = flatten_targets(state, targets).numel()
    if flat.shape != (total,):
        raise ArchitectureError(f"got a vector of shape {tuple(flat.shape)}, expected ({total},): one per weight")
    result, position = dict(state), 0
    for name in targets:
        old = state[name]
        piece = flat[position : position + old.numel()]
        result[name] = piece.reshape(old.shape).to(old.dtype).clone()
        position += old.numel()
    return result
