"""deletion-request and request-decision: that somebody asked, and what was decided. No personal data."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from ledger.statements.predicates.base import LogRef, Predicate, Sha256, Time, Uuid


class DeletionRequest(Predicate):
    """Signed by the provider. `commitment` = SHA-256(salt ‖ canonical record); both stay outside the log."""

    slug: ClassVar[str] = "deletion-request"

    request: Uuid
    commitment: Sha256
    regulation: Literal["gdpr", "uk-gdpr", "ccpa", "lgpd", "other"]
    received_at: Time
    due_at: Time


class RequestDecision(Predicate):
    """Signed by the provider."""

    slug: ClassVar[str] = "request-decision"

    request: Uuid
    filed: LogRef
    decision: Literal["approved", "denied"]
    reason: str = Field(default="", max_length=200, description="a reason code, never free text about a person")
    decided_at: Time
