"""Models by description, and their weights by name or as one flat vector.

The only module that imports timm, transformers and peft.

An architecture is a JSON object with a library and a model.
- `{"library": "timm", "model": "vision_transformer", ...}` builds timm's VisionTransformer class from the
  remaining keys; any other model name, such as `vit_base_patch16_224`, goes through timm's registry.
  `"adapter": {"bottleneck": 64, "scale": 0.1}` adds AdaptFormer's adapters (adapters.py).
- `{"library": "transformers", "model": "opt", ...}` builds an OPT language model from the remaining keys, those
  of transformers' OPTConfig; `opt-125m`, `opt-350m` and `opt-1.3b` are the published sizes. The model takes
  tokens (n, length) and gives logits (n, length, vocabulary).
`"pretrained": true` loads published weights from the hub; without it nothing is downloaded.

The flat vector: the target tensors in the order of the list, each flattened row-major, concatenated.
"""

from __future__ import annotations

import fnmatch
import functools
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from unlearning import adapters
from unlearning.errors import ArchitectureError
from unlearning.torchvision_shim import ensure_torchvision

# The weights that unlearning may touch, by short name: the MLPs' first or second layers, or both.
_PLACES: Final = ("blocks.*.mlp.{}.weight", "layers.*.blocks.*.mlp.{}.weight", "model.decoder.layers.*.{}.weight")
TARGETS: Final = {
    short: tuple(place.format(layer) for place in _PLACES)
    for short, layer in (("fc1", "fc1"), ("fc2", "fc2"), ("fc1+fc2", "fc[12]"))
}
DEFAULT_PATTERN: Final = "fc1"
LORA_MODULES: Final = r".*\.(qkv|attn\.proj|q_proj|v_proj|fc1|fc2)"
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
SMALL_OPT: Final[dict[str, Any]] = {
    "library": "transformers",
    "model": "opt",
    "hidden_size": 128,
    "word_embed_proj_dim": 128,
    "ffn_dim": 512,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "dropout": 0.0,
}
_OPT_SIZES: Final[dict[str, dict[str, Any]]] = {
    "opt": {},
    "opt-125m": {},  # the defaults of OPTConfig
    "opt-350m": {
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "ffn_dim": 4096,
        "word_embed_proj_dim": 512,
        "do_layer_norm_before": False,
    },
    "opt-1.3b": {
        "hidden_size": 2048,
        "num_hidden_layers": 24,
        "num_attention_heads": 32,
        "ffn_dim": 8192,
        "word_embed_proj_dim": 2048,
    },
}


def build(architecture: Mapping[str, Any]) -> nn.Module:
    """The model an architecture describes, in evaluation mode, with freshly drawn (or pretrained) weights.

    Fresh weights come from torch's global generator: call `torch.manual_seed` first.
    Raises ArchitectureError for an unknown library or model, arguments the model refuses, or pretrained
    weights that cannot be had.
    """
    options = dict(architecture)
    library, name = options.pop("library", None), options.pop("model", None)
    makers: dict[Any, Callable[[str, dict[str, Any]], nn.Module]] = {"timm": _timm, "transformers": _opt}
    if library not in makers:
        raise ArchitectureError(
            f'architecture library is {library!r}, expected "timm" or "transformers"; set "library"'
        )
    if not isinstance(name, str) or not name:
        raise ArchitectureError(f'architecture model is {name!r}, expected a {library} model name; set "model"')
    ensure_torchvision()  # transformers imports it too
    try:
        return makers[library](name, options).eval()
    except ArchitectureError:
        raise
    except ImportError as error:
        raise ArchitectureError(
            f"{library} is not installed ({error}); install unlearning-ledger[models]"
        ) from error
    except (TypeError, ValueError, RuntimeError, AssertionError, OSError) as error:
        reason = " ".join(str(error).split())
        raise ArchitectureError(
            f"{library} cannot build {name!r} from {options!r}: {reason}; check the architecture's keys"
        ) from error


def _timm(name: str, options: dict[str, Any]) -> nn.Module:
    import timm

    adapter = options.pop("adapter", None)
    if name == "vision_transformer":
        options.pop("pretrained", None)
        model: nn.Module = timm.models.VisionTransformer(**options)
    else:
        model = timm.create_model(name, pretrained=bool(options.pop("pretrained", False)), **options)
    if adapter is not None:
        adapters.attach(model, **adapter)
    return model


def _opt(name: str, options: dict[str, Any]) -> nn.Module:
    if name not in _OPT_SIZES:
        raise ArchitectureError(
            f"architecture model is {name!r}, expected one of {', '.join(_OPT_SIZES)} for transformers"
        )
    from transformers import OPTConfig

    if options.pop("pretrained", False):
        if name == "opt":
            raise ArchitectureError('"opt" has no pretrained weights; name a size, such as "opt-125m"')
        model: nn.Module = _logits_opt().from_pretrained(f"facebook/{name}", dtype=torch.float32, **options)
        return model
    known = set(OPTConfig().to_dict())
    if set(options) - known:
        raise ArchitectureError(f"OPT does not know {sorted(set(options) - known)}; see OPTConfig for its keys")
    built: nn.Module = _logits_opt()(OPTConfig(**_OPT_SIZES[name], **options))
    return built


@functools.cache
def _logits_opt() -> Any:
    """OPT as a function of tokens alone, with logits as its value, like every other model here."""
    from transformers import OPTForCausalLM

    class LogitsOPT(OPTForCausalLM):
        def forward(self, tokens: Tensor) -> Tensor:
            logits: Tensor = super().forward(input_ids=tokens, use_cache=False).logits
            return logits

    return LogitsOPT


def target_names(model: nn.Module, pattern: str = DEFAULT_PATTERN) -> list[str]:
    """Names of the parameters that match `fc1`, `fc2`, `fc1+fc2` or a shell-style pattern, in model order.

    Raises ArchitectureError when none matches.
    """
    patterns = TARGETS.get(pattern, (pattern,))
    names = [
        name
        for name, _ in model.named_parameters()
        if any(fnmatch.fnmatchcase(name, wanted) for wanted in patterns)
    ]
    if not names:
        raise ArchitectureError(
            f"no parameter matches {pattern!r}, expected at least one; "
            f"name {', '.join(TARGETS)} or a pattern such as {_PLACES[0].format('fc1')!r}"
        )
    return names


class Lora:
    """Low-rank updates of a model's linear layers (Hu et al. 2021), by peft: they train, the layers do not.

    The layers are replaced in place, under other names, until `merge` puts them back with the updates added.
    """

    def __init__(self, model: nn.Module, rank: int, alpha: float, modules: str = LORA_MODULES) -> None:
        """`modules` is a regular expression of whole module names. Raises ArchitectureError where none fits."""
        ensure_torchvision()
        try:
            import peft
        except ImportError as error:
            raise ArchitectureError(f"LoRA needs peft: {error}; install unlearning-ledger[models]") from error
        if rank < 1 or not alpha > 0:
            raise ArchitectureError(f"got LoRA of rank {rank} and alpha {alpha}, expected at least 1 and above 0")
        settings = peft.LoraConfig(r=rank, lora_alpha=alpha, target_modules=modules, lora_dropout=0.0)
        try:
            self._tuner = peft.LoraModel(model, settings, "default")
        except ValueError as error:
            raise ArchitectureError(
                f"LoRA fits no layer of the model: {error}; name others than {modules}"
            ) from error

    def merge(self) -> nn.Module:
        """The model in its own form, with the updates added to its weights."""
        model: nn.Module = self._tuner.merge_and_unload()
        return model


def save(path: str | Path, state: Mapping[str, Tensor]) -> None:
    """Write named tensors as a safetensors file. The same tensors give the same bytes.

    Tensors that share their memory, as the two ends of a language model do, are written once for each name. Raises
    OSError, as when the disk is full.
    """
    seen: set[int] = set()
    tensors = {}
    for name, tensor in state.items():
        plain = tensor.detach().contiguous().cpu()
        tensors[name] = plain.clone() if plain.untyped_storage().data_ptr() in seen else plain
        seen.add(plain.untyped_storage().data_ptr())
    try:
        save_file(tensors, str(path))
    except SafetensorError as error:  # Rust's word for every error of the file system
        number = re.search(r"\(os error (\d+)\)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), f"cannot write {path}: {error}") from error


def load(path: str | Path) -> dict[str, Tensor]:
    """Read a safetensors file. Raises ArchitectureError when it is absent or malformed."""
    try:
        return load_file(str(path))
    except (OSError, SafetensorError) as error:
        raise ArchitectureError(f"cannot read weights from {path}: {error}; expected a safetensors file") from error


def with_weights(architecture: Mapping[str, Any], state: Mapping[str, Tensor]) -> nn.Module:
    """The model an architecture describes, holding `state`, in evaluation mode.

    Where `state` has adapters' tensors, the model gets adapters. Raises ArchitectureError when a tensor is
    missing, left over or of another shape.
    """
    model = build({**adapters.described(architecture, state), "pretrained": False})
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


def masked(state: Mapping[str, Tensor], targets: Sequence[str], mask: Tensor) -> dict[str, Tensor]:
    """A copy of `state` whose target weights are zero where `mask` (total,) bool is true.

    Raises ArchitectureError when a target is missing, or for a mask of another length.
    """
    flat = flatten_targets(state, targets)
    if mask.shape != flat.shape:
        raise ArchitectureError(
            f"got a mask over {tuple(mask.shape)} weights, expected {tuple(flat.shape)}; use the model's own mask"
        )
    return unflatten(state, targets, flat.masked_fill(mask, 0.0))
