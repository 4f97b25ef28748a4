"""subject-access: somebody of the provider's was shown who made a deletion request. Neither of them is named."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from ledger.statements.predicates.base import Code, Count, LogRef, Predicate, Sha256, Time, Uuid


class SubjectAccess(Predicate):
    """Signed by the provider, before anything is shown. `viewer` = SHA-256(32-byte salt ‖ canonical JSON of {"id",
    "name"}): the provider can open it to an auditor, and cannot name somebody else later. `reason` is one of
    `ledger.statements.lifecycle.ACCESS`.
    """

    slug: ClassVar[str] = "subject-access"

    request: Uuid
    filed: LogRef
    number: Count = Field(ge=1, description="counts the accesses to this request")
    viewer: Sha256
    reason: Code
    at: Time
