"""model-release: the provider's global model and which of its tensors unlearning may touch."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from ledger.statements.predicates.base import Count, LogRef, Part, Predicate, Sha256


class TargetTensor(Part):
    """One target tensor; the order of the list is the order of weights in masks and chunks."""

    name: str = Field(min_length=1, max_length=300)
    shape: list[Count] = Field(min_length=1, max_length=8)


class ModelRelease(Predicate):
    """Signed by the provider."""

    slug: ClassVar[str] = "model-release"

    name: str = Field(min_length=1, max_length=200)
    file_sha256: Sha256
    architecture: dict[str, Any] = Field(description="what unlearning.backbones.build takes")
    targets: list[TargetTensor] = Field(min_length=1, max_length=1000)
    dataset: str | None = Field(default=None, min_length=1, max_length=200, description="what it was trained on")
    supersedes: LogRef | None = Field(default=None, description="the release that this one follows")
