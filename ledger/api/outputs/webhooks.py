"""Answers about webhooks."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ledger.api.outputs.base import Id, Output, Time, Url


class Webhook(Output):
    """An endpoint that events are posted to."""

    uuid: Id
    url: Url
    kinds: list[str] = Field(description="of events; empty: all")
    created_at: Time
    failing_since: Time | None
    disabled_at: Time | None


class NewWebhook(Webhook):
    """The same with its secret, which is shown this once."""

    secret: str = Field(pattern="^whsec_")


class Webhooks(Output):
    """All endpoints of their owner."""

    webhooks: list[Webhook]


class Secret(Output):
    """A new secret, shown this once; the one before signs beside it for a day."""

    secret: str = Field(pattern="^whsec_")


class Delivery(Output):
    """One message to an endpoint."""

    uuid: Id
    kind: str
    event: int | None
    state: Literal["waiting", "delivered", "failed"]
    attempts: int
    next_at: Time | None
    status: int | None = Field(description="of the last answer")
    seconds: float | None
    error: str
    created_at: Time
