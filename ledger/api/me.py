"""What an enrolled client may know about itself, and how it calls its keys."""

from __future__ import annotations

from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from ledger.api import inputs, render
from ledger.api.auth import ClientUser, ClientView
from ledger.api.operations import operation
from ledger.api.outputs import clients as outputs
from ledger.workflow.client_keys import label_key


class Me(ClientView):
    """GET: the client that signed the request."""

    @operation("Read the client that signed the request", gives={200: outputs.Me})
    def get(self, request: Request) -> Response:
        """As officers see it; `key` is the ID of the key that signed."""
        assert isinstance(request.user, ClientUser)
        return Response(render.client_detail(self.client, timezone.now()) | {"key": request.user.key.keyid})


class Keys(ClientView):
    """GET: the client's keys."""

    @operation("List the client's keys", gives={200: outputs.Keys})
    def get(self, _request: Request) -> Response:
        """{keys: [...]}, oldest first, revoked ones too. They change by signed statements only."""
        return Response({"keys": render.client_keys(self.client)})


class Key(ClientView):
    """PATCH {label}: what the client calls a key of its own."""

    @operation("Label a key", takes=inputs.Label, gives={200: outputs.ClientKey})
    def patch(self, request: Request, keyid: str) -> Response:
        """The key."""
        return Response(render.client_key(label_key(self.client, keyid, inputs.parse(request, inputs.Label).label)))
