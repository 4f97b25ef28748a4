"""client-retirement and client-model-retirement: a client, or one of its models, takes no further part."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from ledger.statements.predicates.base import LogRef, Predicate, Time, Uuid


class ClientRetirement(Predicate):
    """Signed by the provider. All keys of the client end here, and it cannot enrol again."""

    slug: ClassVar[str] = "client-retirement"

    client: Uuid
    retired_at: Time


class ClientModelRetirement(Predicate):
    """Signed by the client: it has put its copy of a model out of use. No orders and no commitments follow."""

    slug: ClassVar[str] = "client-model-retirement"

    client: Uuid
    model: LogRef
    commitment: LogRef = Field(description="the client's last commitment on that model")
    retired_at: Time
