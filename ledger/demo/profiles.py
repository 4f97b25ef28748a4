"""How large the demonstration is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

#: What a forget direction is to gain, as a share of what the mask took from its block.
PUSH: Final = 0.5


@dataclass(frozen=True)
class Profile:
    """Arguments for the command lines that the story calls."""

    release: tuple[str, ...] = ("--profile", "small")
    architecture: dict[str, object] | None = None  # None: what `unlearning train` takes by default
    training: tuple[str, ...] = ()
    personalising: tuple[str, ...] = ()
    block_size: int = 64
    # With --directions: one row more in every block, so fewer blocks fit into a chunk.
    directed_release: tuple[str, ...] = ("--directions", "1", "--blocks", "120")
    # What the mask's recipe asks for then: the softness is the release's damping, and squared lengths
    # stay below the end of its lookup table.
    directions: Mapping[str, object] = field(
        default_factory=lambda: {"limit": 31, "square": 16_000, "softness": 1024, "push": PUSH}
    )


PROFILES: Final = {
    "full": Profile(),
    # A quarter of the weights per proof and few epochs: the same story in little time, for tests and the hurried.
    "small": Profile(
        release=(
            "--profile", "small", "--logrows", "12", "--blocks", "62", "--block-size", "32", "--rank", "4",
            "--damping", "256", "--factor-limit", "15", "--salt-rows", "24", "--range-group", "3",
            "--noise-rows", "400",
        ),
        architecture={
            "library": "timm", "model": "vision_transformer", "img_size": 8, "patch_size": 2, "in_chans": 1,
            "num_classes": 10, "embed_dim": 32, "depth": 1, "num_heads": 4, "weight_init": "moco",
            "global_pool": "avg", "class_token": False,
        },
        training=("--epochs", "12"),
        personalising=("--epochs", "8"),
        block_size=32,
        directed_release=("--directions", "1", "--blocks", "59"),
        directions={"limit": 31, "square": 3900, "softness": 256, "push": PUSH},
    ),
}  # fmt: skip
