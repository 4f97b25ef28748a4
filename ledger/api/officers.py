"""What the provider's officers do. Each view parses, calls one use case, renders."""

from __future__ import annotations

import uuid

from rest_framework.request import Request
from rest_framework.response import Response

from ledger.api import inputs
from ledger.api.auth import OfficerView
from ledger.workflow.clients import invite_client, reenrol_client


class Clients(OfficerView):
    """POST {name}: invite a client."""

    def post(self, request: Request) -> Response:
        """201 {client, token}; the token is shown this once."""
        client, token = invite_client(inputs.parse(request, inputs.NewClient).name)
        return Response({"client": str(client.uuid), "token": token}, status=201)


class ClientReenrolment(OfficerView):
    """POST {reason?}: revoke a client's key and let it enrol a new one."""

    def post(self, request: Request, client_id: uuid.UUID) -> Response:
        """201 {client, token}; the token is shown this once."""
        client, token = reenrol_client(client_id, inputs.parse(request, inputs.Reenrolment).reason)
        return Response({"client": str(client.uuid), "token": token}, status=201)
