"""What an enrolled client may know about itself, and how it calls its keys."""

from __future__ import annotations

from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from ledger.api import inputs, render
from ledger.api.auth import ClientUser, ClientView
from ledger.api.operations import operation
from ledger.api.outputs import clients as outputs
from ledger.models import GlobalModel
from ledger.workflow.client_keys import label_key
from ledger.workflow.continuations import accepted_before
from ledger.workflow.step import get_or_refuse


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


class Commitment(ClientView):
    """GET: one commitment of the client, by its log index."""

    @operation("Read a commitment of the client", gives={200: outputs.ClientModel})
    def get(self, _request: Request, index: int) -> Response:
        """With how it stands with the zeros of earlier windows; another client's does not exist."""
        held = get_or_refuse(
            self.client.models.select_related(*render.CLIENT_MODEL), "commitment", entry__index=index
        )
        return Response(render.client_model(held))


class Line(ClientView):
    """GET: what a further commitment of the client on a model continues."""

    @operation("Read what a further commitment continues", gives={200: outputs.Line})
    def get(self, _request: Request, index: int) -> Response:
        """`index` is that of the model's release."""
        model = get_or_refuse(GlobalModel.objects.all(), "model", entry__index=index)
        last = self.client.models.filter(model=model).select_related("entry").order_by("-entry").first()
        return Response(render.line(last, accepted_before(self.client, model, None)))


class Key(ClientView):
    """PATCH {label}: what the client calls a key of its own."""

    @operation("Label a key", takes=inputs.Label, gives={200: outputs.ClientKey})
    def patch(self, request: Request, keyid: str) -> Response:
        """The key."""
        return Response(render.client_key(label_key(self.client, keyid, inputs.parse(request, inputs.Label).label)))
