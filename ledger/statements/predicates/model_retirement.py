"""model-retirement: a global model is out of use, and no window on it follows."""

from __future__ import annotations

from typing import ClassVar, Literal

from ledger.statements.predicates.base import LogRef, Predicate, Time


class ModelRetirement(Predicate):
    """Signed by the provider, when no window of the model waits for its certificates."""

    slug: ClassVar[str] = "model-retirement"

    model: LogRef
    reason: Literal["superseded", "withdrawn", "never-deployed"]
    retired_at: Time
