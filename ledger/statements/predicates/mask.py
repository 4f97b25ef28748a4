"""mask: the public artefact Ψ of a window, computed at the global model from the forget set."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from ledger.statements.predicates.base import Count, LogRef, Predicate, Sha256, Uuid


class Mask(Predicate):
    """Signed by the provider. The mask file is kept under its SHA-256."""

    slug: ClassVar[str] = "mask"

    window: Uuid
    closed: LogRef
    model: LogRef
    mask_sha256: Sha256
    masked: Count = Field(gt=0)
    total: Count = Field(gt=0)
    directions_sha256: Sha256 | None = Field(
        default=None, exclude_if=lambda digest: digest is None, description="the forget directions' file, if any"
    )
    recipe: dict[str, Any] = Field(description="everything needed to compute the same mask again")
