"""What officers do about clients. Each view parses, calls one use case, renders."""

from __future__ import annotations

import uuid
from typing import Any, ClassVar

from django.db.models import QuerySet
from django.utils import timezone
from pydantic import Field
from rest_framework.request import Request
from rest_framework.response import Response

from ledger.api import inputs, render
from ledger.api.auth import OfficerView
from ledger.api.operations import operation
from ledger.api.outputs import clients as outputs
from ledger.api.outputs.base import Page
from ledger.api.paging import NO_NUL, Query, page
from ledger.models import Client
from ledger.workflow import client_keys, clients
from ledger.workflow.step import get_or_refuse


def _shown(client_id: uuid.UUID) -> dict[str, Any]:
    return render.client_detail(_client(client_id), timezone.now())


class ClientQuery(Query):
    """GET /clients."""

    lookups: ClassVar[dict[str, str]] = {"name": "name__icontains"}

    state: Client.State | None = None
    name: str | None = Field(None, pattern=NO_NUL, description="a part of it")

    def narrow(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """A client's state follows from its keys and tokens."""
        if self.state is None:
            return super().narrow(rows)
        rows = rows.filter(pk__in=Client.objects.all().in_state(self.state, timezone.now()))
        return super(ClientQuery, self.model_copy(update={"state": None})).narrow(rows)


class Clients(OfficerView):
    """GET: clients. POST {name, days?}: invite one."""

    @operation("List clients", needs="ledger.view_client", gives={200: Page[outputs.ClientLine]}, query=ClientQuery)
    def get(self, request: Request) -> Response:
        """By name."""
        rows = Client.objects.select_related("enrolled_entry", "retired_entry").prefetch_related("keys")
        now = timezone.now()
        return page(request, rows, ClientQuery, lambda row: render.client(row, now), ("name", "uuid"))

    @operation(
        "Invite a client", needs="ledger.add_client", takes=inputs.NewClient, gives={201: outputs.Invitation}
    )
    def post(self, request: Request) -> Response:
        """201 {client, token, expiresAt}; the token is shown this once."""
        body = inputs.parse(request, inputs.NewClient)
        return _invitation(*clients.invite_client(body.name, body.days, actor=self.actor))


class ClientView(OfficerView):
    """GET: one client with its keys and models."""

    @operation("Read a client", needs="ledger.view_client", gives={200: outputs.Client})
    def get(self, _request: Request, client_id: uuid.UUID) -> Response:
        """Nothing secret: tokens are not kept."""
        return Response(_shown(client_id))


class ClientToken(OfficerView):
    """POST {days?}: another token for a client that has no valid key."""

    @operation(
        "Issue another enrolment token",
        needs="ledger.change_client",
        takes=inputs.NewToken,
        gives={201: outputs.Invitation},
        guards=_shown,
    )
    def post(self, request: Request, client_id: uuid.UUID) -> Response:
        """201 {client, token, expiresAt}; earlier tokens are void."""
        body = inputs.parse(request, inputs.NewToken)
        return _invitation(*clients.reissue_token(client_id, body.days, actor=self.actor))


class ClientReenrolment(OfficerView):
    """POST {reason?, days?}: revoke all keys of a client and let it enrol a new one."""

    @operation(
        "Revoke a client's keys and let it enrol anew",
        needs="ledger.change_client",
        takes=inputs.Reenrolment,
        gives={201: outputs.Invitation},
        guards=_shown,
    )
    def post(self, request: Request, client_id: uuid.UUID) -> Response:
        """201 {client, token, expiresAt}; the token is shown this once."""
        body = inputs.parse(request, inputs.Reenrolment)
        return _invitation(*clients.reenrol_client(client_id, body.reason, body.days, actor=self.actor))


class ClientKeyRevocation(OfficerView):
    """POST {reason}: revoke one key of a client."""

    @operation(
        "Revoke a client's key",
        needs="ledger.change_client",
        takes=inputs.KeyRevocation,
        gives={200: outputs.ClientKey},
    )
    def post(self, request: Request, client_id: uuid.UUID, keyid: str) -> Response:
        """The key."""
        body = inputs.parse(request, inputs.KeyRevocation)
        return Response(
            render.client_key(client_keys.revoke_client_key(client_id, keyid, body.reason, actor=self.actor))
        )


class ClientRetirement(OfficerView):
    """POST: retire a client for good."""

    @operation("Retire a client", needs="ledger.change_client", gives={200: outputs.Client}, guards=_shown)
    def post(self, _request: Request, client_id: uuid.UUID) -> Response:
        """The client."""
        clients.retire_client(client_id, actor=self.actor)
        return Response(_shown(client_id))


def _client(client_id: uuid.UUID) -> Client:
    return get_or_refuse(Client.objects.select_related("enrolled_entry", "retired_entry"), "client", uuid=client_id)


def _invitation(client: Client, token: str) -> Response:
    said = {"client": str(client.uuid), "token": token, "expiresAt": render.time(client.token_expires_at)}
    return Response(said, status=201)
