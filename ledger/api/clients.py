"""What enrolled clients do, each request signed with their key: upload and fetch files, read their orders."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db.models import Prefetch
from django.http import Http404
from django.http.response import HttpResponseBase
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response

from ledger import blobs
from ledger.api import ranges, render
from ledger.api.auth import ClientView
from ledger.api.limits import refuse_larger
from ledger.api.operations import BYTES, operation
from ledger.api.outputs import work as outputs
from ledger.api.outputs.base import Page
from ledger.api.paging import Query, page
from ledger.models import Claim, Order
from ledger.workflow.errors import WorkflowError
from ledger.workflow.uploads import store_blob

# Few joins and some simple queries more, however many orders there are: planning one large join takes longer.
_CLAIMS = Claim.objects.select_related("entry").prefetch_related(
    "challenge__entry", "challenge__checkpoint", "proof__entry", "proof__verdict__entry"
)
_ORDERS = Order.objects.select_related(
    "entry",
    "window__mask_entry",
    "client_model__entry",
    "client_model__circuit__entry",
    "client_model__model__entry",
).prefetch_related("exception_entry", "objection__entry", Prefetch("claims", _CLAIMS))


class OrderQuery(Query):
    """GET /orders."""

    state: Order.State | None = None
    window: uuid.UUID | None = None


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

    @operation("Store a file", takes=BYTES, gives={201: outputs.Blob, 200: outputs.Blob})
    def put(self, request: Request, sha256: str) -> Response:
        """Store the body; 201, or 200 if this client has stored it before."""
        try:
            blob, created = store_blob(self.client, request._request.body, sha256)  # noqa: SLF001
        except blobs.BlobError as error:
            raise WorkflowError("bad-blob", str(error), 422) from error
        return Response({"sha256": blob.sha256, "size": blob.size}, status=201 if created else 200)

    @operation("Fetch a file", gives={200: BYTES}, resumable=True)
    def get(self, request: Request, sha256: str) -> HttpResponseBase:
        """The bytes, of the provider's files and the client's own."""
        if not blobs.readable_by(sha256, self.client):
            raise Http404
        return ranges.send(request, blobs.open_checked(sha256), f'"{sha256}"', content_type=BYTES.type)


class Orders(ClientView):
    """GET: all orders of the asking client."""

    @operation("List the orders of the asking client", query=OrderQuery, gives={200: Page[outputs.Order]})
    def get(self, request: Request) -> Response:
        """Oldest first."""
        own = _ORDERS.filter(client_model__client=self.client)
        return page(request, own, OrderQuery, render.order, ("entry",))


class OrderView(ClientView):
    """GET: one order; another client's does not exist."""

    @operation("Read an order of the asking client", gives={200: outputs.Order})
    def get(self, _request: Request, order_id: uuid.UUID) -> Response:
        """State, references, challenge, verdict."""
        row = _ORDERS.filter(client_model__client=self.client, uuid=order_id).first()
        if row is None:
            raise Http404
        return Response(render.order(row))
