"""request-acknowledgement: the person was told that the request has arrived."""

from __future__ import annotations

from typing import ClassVar

from ledger.statements.predicates.base import LogRef, Predicate, Time, Uuid


class RequestAcknowledgement(Predicate):
    """Signed by the provider. Once per request."""

    slug: ClassVar[str] = "request-acknowledgement"

    request: Uuid
    filed: LogRef
    acknowledged_at: Time
