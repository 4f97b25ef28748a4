"""AdaptFormer (Chen et al. 2022): a small bottleneck beside the MLP of every transformer block.

    output = MLP(x) + scale * up(relu(down(x)))

The block's own weights keep their names and their order, so the layout of what unlearning may touch is that of
the model without adapters; `blocks.N.mlp.adapter.*` are further tensors beside it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor, nn

from unlearning.errors import ArchitectureError

_DOWN: Final = ".mlp.adapter.down.weight"


class Adapter(nn.Module):
    """(..., width) to (..., width) through `bottleneck` units; starts as zero, so it changes nothing yet."""

    def __init__(self, width: int, bottleneck: int, scale: float) -> None:
        super().__init__()
        self.down = nn.Linear(width, bottleneck)
        self.up = nn.Linear(bottleneck, width)
        nn.init.kaiming_uniform_(self.down.weight, a=math.sqrt(5))
        for rest in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(rest)
        self.register_buffer("scale", torch.tensor(float(scale)))

    def forward(self, x: Tensor) -> Tensor:
        """The adapter's share of the block's output."""
        result: Tensor = self.get_buffer("scale") * self.up(torch.relu(self.down(x)))
        return result


def attach(model: nn.Module, bottleneck: int, scale: float = 0.1) -> list[nn.Module]:
    """Give the MLP of every block of a timm vision transformer an adapter; returns the adapters.

    Their first weights come from torch's global generator. Raises ArchitectureError for a model without such
    blocks, one that has adapters, or a size without sense.
    """
    if type(bottleneck) is not int or bottleneck < 1 or not 0 < scale < math.inf:
        raise ArchitectureError(
            f"got an adapter of bottleneck {bottleneck!r} and scale {scale!r}, "
            "expected a whole number from 1 and a number above 0"
        )
    mlps = [
        module
        for name, module in model.named_modules()
        if name.endswith(".mlp") and isinstance(getattr(module, "fc1", None), nn.Linear)
    ]
    if not mlps or any(hasattr(mlp, "adapter") for mlp in mlps):
        raise ArchitectureError(
            "expected a vision transformer with blocks.*.mlp.fc1 and without adapters; adapters fit no other model"
        )
    added = []
    for mlp in mlps:
        mlp.adapter = Adapter(mlp.get_submodule("fc1").in_features, bottleneck, scale)
        mlp.register_forward_hook(_add)
        added.append(mlp.get_submodule("adapter"))
    return added


def _add(mlp: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> Tensor:
    """The forward hook of an MLP with an adapter."""
    share: Tensor = mlp.get_submodule("adapter")(arguments[0])
    return output + share


def described(architecture: Mapping[str, Any], state: Mapping[str, Tensor]) -> dict[str, Any]:
    """`architecture` with the adapters that the tensors `state` are of, where it does not mention them itself.

    A client that personalises by adapters has tensors that the provider's architecture does not know of.
    """
    down = [tensor for name, tensor in state.items() if name.endswith(_DOWN)]
    if not down or "adapter" in architecture:
        return dict(architecture)
    return {**architecture, "adapter": {"bottleneck": len(down[0])}}  # the scale is a tensor of the state
