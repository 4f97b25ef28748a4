"""request-fulfilment: every model that a deletion request concerns has a complete certificate, or is retired."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from ledger.statements.predicates.base import LogRef, Predicate, Time, Uuid


class RequestFulfilment(Predicate):
    """Signed by the provider.

    Concerned are the models of the request's data set that were released before the decision and not retired then.
    Later ones are trained without the data: that is the provider's duty, and not shown here.
    """

    slug: ClassVar[str] = "request-fulfilment"

    request: Uuid
    decision: LogRef
    certificates: list[LogRef] = Field(default=[], max_length=100, description="one for each model in use")
    retirements: list[LogRef] = Field(default=[], max_length=100, description="of models concerned but not in use")
    fulfilled_at: Time
