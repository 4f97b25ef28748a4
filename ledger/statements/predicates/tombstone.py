"""tombstone: the personal data behind a deletion request was destroyed. The request's entry stays as it was."""

from __future__ import annotations

from typing import ClassVar, Literal

from ledger.statements.predicates.base import LogRef, Predicate, Time, Uuid


class Tombstone(Predicate):
    """Signed by the provider. From here on nobody can open the commitment of the request's entry."""

    slug: ClassVar[str] = "tombstone"

    request: Uuid
    filed: LogRef
    reason: Literal["retention-ended", "subject-asked", "authority-ordered", "filed-by-mistake"]
    erased_at: Time
