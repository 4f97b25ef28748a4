"""How large the demonstration is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Profile:
    """Arguments for the command lines that the story calls."""

    release: tuple[str, ...] = ()
    architecture: dict[str, object] | None = None  # None: what `unlearning train` takes by default
    training: tuple[str, ...] = ()
    personalising: tuple[str, ...] = ()
    block_size: int = 64


PROFILES: Final = {
    "full": Profile(),
    # A quarter of the weights per proof and few epochs: the same story in little time, for tests and the hurried.
    "small": Profile(
        release=(
            "--logrows", "12", "--blocks", "62", "--block-size", "32", "--rank", "4", "--damping", "256",
            "--factor-limit", "15", "--salt-rows", "24", "--range-group", "3",
        ),
        architecture={
            "library": "timm", "model": "vision_transformer", "img_size": 8, "patch_size": 2, "in_chans": 1,
            "num_classes": 10, "embed_dim": 32, "depth": 2, "num_heads": 4, "weight_init": "moco",
            "global_pool": "avg", "class_token": False,
        },
        training=("--epochs", "12"),
        personalising=("--epochs", "8"),
        block_size=32,
    ),
}  # fmt: skip
