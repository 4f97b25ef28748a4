"""What officers do about clients. Each view parses, calls one use case, renders."""

from __future__ import annotations

import uuid

from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from ledger.api import inputs, render
from ledger.api.auth import OfficerView
from ledger.models import Client
from ledger.workflow import client_keys, clients
from ledger.workflow.errors import WorkflowError
from ledger.workflow.step import get_or_refuse


class Clients(OfficerView):
    """GET ?state=&name=: clients. POST {name, days?}: invite one."""

    def get(self, request: Request) -> Response:
        """{clients: [...]}, by name; `name` finds parts of it."""
        rows = Client.objects.select_related("enrolled_entry", "retired_entry").prefetch_related("keys")
        state, name, now = request.query_params.get("state"), request.query_params.get("name"), timezone.now()
        if state is not None:
            if state not in Client.State.values:
                raise WorkflowError(
                    "bad-input", f"state: got {state!r:.100}, expected one of {', '.join(Client.State.values)}", 422
                )
            rows = rows.in_state(Client.State(state), now)
        if name:
            rows = rows.filter(name__icontains=name)
        return Response({"clients": [render.client(row, now) for row in rows.order_by("name")]})

    def post(self, request: Request) -> Response:
        """201 {client, token, expiresAt}; the token is shown this once."""
        body = inputs.parse(request, inputs.NewClient)
        return _invitation(*clients.invite_client(body.name, body.days, actor=self.actor))


class ClientView(OfficerView):
    """GET: one client with its keys and models."""

    def get(self, _request: Request, client_id: uuid.UUID) -> Response:
        """Nothing secret: tokens are not kept."""
        return Response(render.client_detail(_client(client_id), timezone.now()))


class ClientToken(OfficerView):
    """POST {days?}: another token for a client that has no valid key."""

    def post(self, request: Request, client_id: uuid.UUID) -> Response:
        """201 {client, token, expiresAt}; earlier tokens are void."""
        body = inputs.parse(request, inputs.NewToken)
        return _invitation(*clients.reissue_token(client_id, body.days, actor=self.actor))


class ClientReenrolment(OfficerView):
    """POST {reason?, days?}: revoke all keys of a client and let it enrol a new one."""

    def post(self, request: Request, client_id: uuid.UUID) -> Response:
        """201 {client, token, expiresAt}; the token is shown this once."""
        body = inputs.parse(request, inputs.Reenrolment)
        return _invitation(*clients.reenrol_client(client_id, body.reason, body.days, actor=self.actor))


class ClientKeyRevocation(OfficerView):
    """POST {reason}: revoke one key of a client."""

    def post(self, request: Request, client_id: uuid.UUID, keyid: str) -> Response:
        """The key."""
        body = inputs.parse(request, inputs.Revocation)
        return Response(
            render.client_key(client_keys.revoke_client_key(client_id, keyid, body.reason, actor=self.actor))
        )


class ClientRetirement(OfficerView):
    """POST: retire a client for good."""

    def post(self, _request: Request, client_id: uuid.UUID) -> Response:
        """The client."""
        clients.retire_client(client_id, actor=self.actor)
        return Response(render.client_detail(_client(client_id), timezone.now()))


def _client(client_id: uuid.UUID) -> Client:
    return get_or_refuse(Client.objects.select_related("enrolled_entry", "retired_entry"), "client", uuid=client_id)


def _invitation(client: Client, token: str) -> Response:
    said = {"client": str(client.uuid), "token": token, "expiresAt": render.time(client.token_expires_at)}
    return Response(said, status=201)
