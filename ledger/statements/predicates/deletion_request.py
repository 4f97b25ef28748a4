"""deletion-request and request-decision: that somebody asked, and what was decided. No personal data."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from ledger.statements.predicates.base import LogRef, Part, Predicate, Sha256, Time, Uuid


class Terms(Part):
    """The periods of one regulation; an extension needs a notice to the person inside the first one, or none."""

    months: int = Field(ge=0, le=60, strict=True)
    days: int = Field(ge=0, le=3650, strict=True)
    extension_months: int = Field(default=0, ge=0, le=60, strict=True)
    extension_days: int = Field(default=0, ge=0, le=3650, strict=True)
    notice: Literal["in-first-period", "none"] = "in-first-period"
    acknowledge_business_days: int = Field(default=0, ge=0, le=365, strict=True, description="0: not asked for")

    @property
    def extendable(self) -> bool:
        """Whether there is an extension at all."""
        return self.extension_months + self.extension_days > 0


class DeletionRequest(Predicate):
    """Signed by the provider. `commitment` = SHA-256(salt ‖ canonical record); both stay outside the log.

    `dueAt` follows from `receivedAt` and `terms`, or from the law where no terms are named.
    """

    slug: ClassVar[str] = "deletion-request"

    request: Uuid
    commitment: Sha256
    regulation: Literal["gdpr", "uk-gdpr", "ccpa", "lgpd", "other"]
    received_at: Time
    due_at: Time
    terms: Terms | None = Field(default=None, description="the periods that count for this request")


class RequestDecision(Predicate):
    """Signed by the provider. `reference` = SHA-256(salt ‖ canonical record of the samples to forget), see
    docs/formats.md; an approval fixes them here.
    """

    slug: ClassVar[str] = "request-decision"

    request: Uuid
    filed: LogRef
    decision: Literal["approved", "denied"]
    reason: str = Field(default="", max_length=200, description="a reason code, never free text about a person")
    decided_at: Time
    reference: Sha256 | None = None
