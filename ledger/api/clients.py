"""What enrolled clients do, each request signed with their key: upload and fetch files, read their orders."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.http import Http404, HttpResponse
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response

from ledger import blobs
from ledger.api import render
from ledger.api.auth import ClientView
from ledger.api.limits import refuse_larger
from ledger.models import Order
from ledger.workflow.errors import WorkflowError

_ORDERS = Order.objects.select_related(
    "entry",
    "window__mask_entry",
    "client_model__entry",
    "client_model__circuit__entry",
    "client_model__model__entry",
)


class RawBody(BaseParser):
    """Any content type; the view reads the bytes itself."""

    media_type = "*/*"

    def parse(self, *_args: object, **_kwargs: object) -> dict[str, object]:
        """Nothing: see RawBody."""
        return {}


class BlobView(ClientView):
    """One file under its SHA-256."""

    parser_classes = [RawBody]

    def initial(self, request: Request, *args: object, **kwargs: object) -> None:
        """Refuse a body that is too large before it is read and its signature checked."""
        refuse_larger(request, settings.LEDGER_BLOB_LIMIT, "a blob")
        super().initial(request, *args, **kwargs)

    def put(self, request: Request, sha256: str) -> Response:
        """Store the body; 201, or 200 if this client has stored it before."""
        try:
            blob, created = blobs.put(request._request.body, owner=self.client, sha256=sha256)  # noqa: SLF001
        except blobs.BlobError as error:
            raise WorkflowError("bad-blob", str(error), 422) from error
        return Response({"sha256": blob.sha256, "size": blob.size}, status=201 if created else 200)

    def get(self, _request: Request, sha256: str) -> HttpResponse:
        """The bytes, of the provider's files and the client's own."""
        if not blobs.readable_by(sha256, self.client):
            raise Http404
        return HttpResponse(blobs.read(sha256), content_type="application/octet-stream")


class Orders(ClientView):
    """GET: all orders of the asking client."""

    def get(self, _request: Request) -> Response:
        """Newest last."""
        own = _ORDERS.filter(client_model__client=self.client)
        return Response({"orders": [render.order(row) for row in own.order_by("entry")]})


class OrderView(ClientView):
    """GET: one order; another client's does not exist."""

    def get(self, _request: Request, order_id: uuid.UUID) -> Response:
        """State, references, challenge, verdict."""
        row = _ORDERS.filter(client_model__client=self.client, uuid=order_id).first()
        if row is None:
            raise Http404
        return Response(render.order(row))
