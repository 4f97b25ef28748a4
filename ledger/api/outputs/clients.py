"""Answers about clients and their keys."""

from __future__ import annotations

from pydantic import Field

from ledger.api.outputs.base import Id, Output, Ref, Sha256, Time
from ledger.api.outputs.work import Failure


class ClientLine(Output):
    """A client in a list."""

    uuid: Id
    name: str
    state: str
    invited_at: Time
    token_expires_at: Time | None
    enrolled: Ref | None
    retired: Ref | None


class ClientKey(Output):
    """A key; `since` and `revoked` say where in the log it begins and ends."""

    keyid: str
    public_key: Sha256 = Field(description="Ed25519, raw, hex")
    label: str
    valid: bool
    since: Ref
    revoked: Ref | None


class Continuation(Output):
    """How a commitment shows that what was set to zero still is."""

    challenge: Ref
    proof: Ref | None
    verdict: Ref | None
    failures: list[Failure]


class ClientModel(Output):
    """A commitment of a client, and how it stands with the zeros of earlier windows."""

    commitment: Ref
    model: Ref
    state: str
    continues: Ref | None
    continuity: str
    continuation: Continuation | None


class LineOrder(Output):
    """An order that the client has met on a model."""

    order: Ref
    mask: Ref
    verdict: Ref


class Line(Output):
    """What a further commitment of the client on a model continues, and the orders whose zeros it must keep."""

    continues: Ref | None
    orders: list[LineOrder]


class Client(ClientLine):
    """A client with its keys and what it has committed to."""

    keys: list[ClientKey]
    models: list[ClientModel]


class Me(Client):
    """The client that signed the request, and with which key."""

    key: str


class Keys(Output):
    """All keys of the client, oldest first."""

    keys: list[ClientKey]


class Invitation(Output):
    """A client's enrolment token, which is shown this once."""

    client: Id
    token: str
    expires_at: Time
