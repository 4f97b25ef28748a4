"""report: an audit report was made and handed out; its file can be known again by its digest."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from ledger.statements.predicates.base import Code, Count, Predicate, Sha256, Time, Uuid


class AuditReport(Predicate):
    """Signed by the provider. A report that names persons says so, and why it was made."""

    slug: ClassVar[str] = "report"

    report: Uuid
    scope: Literal["request", "window", "client", "period"]
    about: Uuid | None = Field(default=None, description="the request, window or client; null for a period")
    since: Time | None = None
    until: Time | None = Field(default=None, description="the end of a period, not included")
    form: Literal["pdf", "json", "csv"]
    sha256: Sha256
    size: Count = Field(gt=0, description="bytes of the file")
    covers: Count = Field(gt=0, description="size of the published log that the report stands under")
    personal_data: bool = False
    reason: Code | None = None
    made_at: Time
