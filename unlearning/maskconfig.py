"""What a mask's configuration may say: a JSON object, checked before anything long starts."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from unlearning import backbones, maskfile, masks
from unlearning.errors import MaskError
from unlearning.forget_sets import Forget

DENSITY = 0.25  # of a run, where masks are made of rows or chunks


class DirectionsConfig(BaseModel):
    """Forget directions: how many, of what kind, at which weights, in what integers, with what push.

    `mean` is the mean gradient on the forget set, `top` the main directions of its single samples' gradients; at
    the global model with its mask (where they point back to what was removed) or at the `original`. The mean can be
    of another `signal` than the loss (losses.SIGNALS), less a share, the `contrast`, of the same mean over the rest
    of the data: what is left sets the forget set apart. With `cleaning` directions are turned away from what the
    rest of the data needs (directions.cleaned). `push` is a share of what the mask took: from the block, or, where
    it is `proportional`, from a block on average, times the direction's length before rounding over its mean.
    `limit` is the largest entry, `square` the largest squared length of a row (directions.py): where directions are
    to be proved, the softness must be the circuit release's damping, and `square` a little less than the end of its
    lookup table.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["mean", "top"] = "mean"
    count: int = Field(default=1, ge=1, le=16, strict=True)
    at: Literal["masked", "original"] = "masked"
    limit: int = Field(default=15, ge=1, le=127, strict=True)
    square: int | None = Field(default=None, ge=1, le=2**20, strict=True)
    softness: int = Field(default=16, ge=1, lt=2**31, strict=True)
    push: float = Field(default=0.0, ge=0, le=10)
    proportional: bool = Field(default=False, strict=True)
    cleaning: float | None = Field(default=None, gt=0, le=1000)
    signal: Literal["loss", "probability"] = "loss"
    contrast: float = Field(default=0.0, ge=0, le=1)

    @property
    def compares(self) -> bool:
        """Whether they depend on what is to be retained."""
        return self.cleaning is not None or self.contrast > 0

    @model_validator(mode="after")
    def _one_mean(self) -> DirectionsConfig:
        if self.kind == "mean" and self.count != 1:
            raise ValueError("there is one mean gradient; for several directions choose the kind top")
        if self.kind == "top" and (self.signal != "loss" or self.contrast):
            raise ValueError("signal and contrast are for the mean; leave them out, or choose the kind mean")
        return self


class NoiseConfig(BaseModel):
    """Noise on what is published, as a share of its root mean square, drawn from a secret of 32 bytes in hex.

    Who knows the secret can take the noise off, so a recipe holds its digest only.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    scores: float = Field(default=0.0, ge=0, le=100)
    directions: float = Field(default=0.0, ge=0, le=100)
    secret: str = Field(pattern="^[0-9a-f]{64}$", repr=False)

    def seed(self, purpose: str) -> int:
        """The seed of one use of the secret."""
        return int.from_bytes(hashlib.sha256(bytes.fromhex(self.secret) + purpose.encode()).digest()[:7])

    def record(self) -> dict[str, Any]:
        """What may be published."""
        digest = hashlib.sha256(bytes.fromhex(self.secret)).hexdigest()
        return {"scores": self.scores, "directions": self.directions, "secretSha256": digest}


class MaskConfig(BaseModel):
    """How a mask is made.

    `samples`: the most gradients taken of the forget set; `retainSamples`: of the rest, where the score asks for
    them (as many if absent). `granularity`: single weights, or rows of tensors, or chunks of `chunkWeights`, of
    which `density` is the largest share to mask.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    dataset: str
    forget: Forget
    budget: float = Field(default=0.04, gt=0, lt=0.5, strict=True)
    score: str = "saliency"
    granularity: Literal["weight", "row", "chunk"] = "weight"
    density: float | None = Field(default=None, gt=0, le=1)
    samples: int = Field(default=480, ge=1, strict=True)
    retain_samples: int | None = Field(default=None, ge=1, strict=True, alias="retainSamples")
    seed: int = Field(default=0, ge=0, lt=2**32, strict=True)
    targets: str = backbones.DEFAULT_PATTERN
    block_size: int = Field(default=64, ge=2, strict=True, alias="blockSize")
    chunk_weights: int = Field(default=maskfile.CHUNK_WEIGHTS, ge=1, le=2**24, strict=True, alias="chunkWeights")
    directions: DirectionsConfig | None = None
    noise: NoiseConfig | None = None

    @model_validator(mode="after")
    def _known(self) -> MaskConfig:
        if self.score not in masks.SCORES:
            raise ValueError(f"score {self.score!r} is none of {', '.join(masks.SCORES)}")
        if self.granularity == "weight" and self.density is not None:
            raise ValueError("density is for the granularities row and chunk; leave it out")
        return self

    @classmethod
    def parse(cls, config: Mapping[str, Any]) -> MaskConfig:
        """Check a mapping. Raises MaskError naming the first field that is wrong."""
        try:
            return cls.model_validate(dict(config))
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
            shown = "a secret" if "noise" in first["loc"] else repr(first["input"])
            raise MaskError(f"mask configuration {field}: got {shown:.200}; {first['msg']}") from error

    def runs(self, shapes: Sequence[Sequence[int]]) -> masks.Runs | None:
        """The runs of tensors of these shapes; None for single weights."""
        density = DENSITY if self.density is None else self.density
        if self.granularity == "row":
            return masks.row_runs(shapes, density)
        if self.granularity == "chunk":
            total = sum(math.prod(shape) for shape in shapes)
            return masks.chunk_runs(total, self.chunk_weights, density)
        return None

    def record(self) -> dict[str, Any]:
        """The configuration as a recipe holds it: every default written out, the noise without its secret."""
        record = self.model_dump(by_alias=True, exclude_none=True, exclude={"noise"})
        if self.granularity != "weight":
            record["density"] = DENSITY if self.density is None else self.density
        return record if self.noise is None else record | {"noise": self.noise.record()}
