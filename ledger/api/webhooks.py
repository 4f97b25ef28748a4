"""Webhooks: officers' endpoints hear of everything, a client's of that client. Each view calls one use case."""

from __future__ import annotations

import uuid
from typing import Any

from pydantic import Field
from rest_framework.request import Request
from rest_framework.response import Response

from ledger.api.auth import PartyView
from ledger.api.inputs import Input, parse
from ledger.api.operations import operation
from ledger.api.outputs import webhooks as outputs
from ledger.api.outputs.base import Page
from ledger.api.paging import Query, page
from ledger.api.render import time
from ledger.models import WebhookDelivery, WebhookEndpoint
from ledger.workflow import webhooks
from ledger.workflow.step import get_or_refuse

VIEW, CHANGE = "ledger.view_webhookendpoint", "ledger.change_webhookendpoint"


class NewWebhook(Input):
    """POST /webhooks."""

    url: str = Field(max_length=500, examples=["https://hooks.example/ledger"])
    kinds: list[str] = Field(default=[], max_length=100, examples=[["order.met", "order.rejected"]])


class DeliveryQuery(Query):
    """GET .../deliveries."""

    state: WebhookDelivery.State | None = None


def shown(row: WebhookEndpoint) -> dict[str, Any]:
    """An endpoint without its secret."""
    return {
        "uuid": str(row.uuid),
        "url": row.url,
        "kinds": row.kinds,
        "createdAt": time(row.created_at),
        "failingSince": time(row.failing_since),
        "disabledAt": time(row.disabled_at),
    }


def shown_delivery(row: WebhookDelivery) -> dict[str, Any]:
    """A delivery."""
    waiting = row.state == WebhookDelivery.State.WAITING
    return {
        "uuid": str(row.uuid),
        "kind": row.kind,
        "event": row.event_id,
        "state": row.state,
        "attempts": row.attempts,
        "nextAt": time(row.next_at) if waiting else None,
        "status": row.status,
        "seconds": row.seconds,
        "error": row.error,
        "createdAt": time(row.created_at),
    }


class Owned(PartyView):
    """Base of all: a client has its endpoints, the officers together have theirs (client None)."""

    def endpoint(self, webhook_id: uuid.UUID) -> WebhookEndpoint:
        """One of the caller's; 404 for another's."""
        return webhooks.find(self.client, webhook_id)


class Webhooks(Owned):
    """GET: the owner's endpoints. POST {url, kinds?}: one more."""

    @operation("List webhooks", needs=VIEW, gives={200: outputs.Webhooks})
    def get(self, _request: Request) -> Response:
        """Oldest first."""
        rows = WebhookEndpoint.objects.filter(client=self.client)
        return Response({"webhooks": [shown(row) for row in rows]})

    @operation("Add a webhook", needs=CHANGE, takes=NewWebhook, gives={201: outputs.NewWebhook})
    def post(self, request: Request) -> Response:
        """201 with the secret, which is shown this once."""
        body = parse(request, NewWebhook)
        row, secret = webhooks.add_endpoint(body.url, body.kinds, client=self.client, actor=self.actor)
        return Response(shown(row) | {"secret": secret}, status=201)


class Webhook(Owned):
    """GET: one endpoint. DELETE: forget it."""

    @operation("Read a webhook", needs=VIEW, gives={200: outputs.Webhook})
    def get(self, _request: Request, webhook_id: uuid.UUID) -> Response:
        """Without its secret."""
        return Response(shown(self.endpoint(webhook_id)))

    @operation("Remove a webhook", needs=CHANGE, gives={204: None})
    def delete(self, _request: Request, webhook_id: uuid.UUID) -> Response:
        """204; its deliveries are gone too."""
        webhooks.remove_endpoint(self.endpoint(webhook_id), actor=self.actor)
        return Response(status=204)


class WebhookRotation(Owned):
    """POST: a new secret."""

    @operation("Rotate a webhook's secret", needs=CHANGE, gives={200: outputs.Secret})
    def post(self, _request: Request, webhook_id: uuid.UUID) -> Response:
        """The one before signs beside it for a day."""
        return Response({"secret": webhooks.rotate_secret(self.endpoint(webhook_id), actor=self.actor)})


class WebhookEnabling(Owned):
    """POST: try a disabled endpoint again."""

    @operation("Enable a webhook", needs=CHANGE, gives={200: outputs.Webhook})
    def post(self, _request: Request, webhook_id: uuid.UUID) -> Response:
        """Deliveries go on where they stopped."""
        return Response(shown(webhooks.enable(self.endpoint(webhook_id), actor=self.actor)))


class WebhookTest(Owned):
    """POST: send a test."""

    @operation("Send a test to a webhook", needs=CHANGE, gives={202: outputs.Delivery})
    def post(self, _request: Request, webhook_id: uuid.UUID) -> Response:
        """202 with the delivery; look at it again for what came of it."""
        return Response(shown_delivery(webhooks.send_test(self.endpoint(webhook_id))), status=202)


class Deliveries(Owned):
    """GET: what was sent, or is to be."""

    @operation("List a webhook's deliveries", needs=VIEW, gives={200: Page[outputs.Delivery]}, query=DeliveryQuery)
    def get(self, request: Request, webhook_id: uuid.UUID) -> Response:
        """Newest first."""
        rows = WebhookDelivery.objects.filter(endpoint=self.endpoint(webhook_id))
        return page(request, rows, DeliveryQuery, shown_delivery, ("-created_at", "uuid"))


class Replay(Owned):
    """POST: send one again."""

    @operation("Send a delivery again", needs=CHANGE, gives={202: outputs.Delivery})
    def post(self, _request: Request, webhook_id: uuid.UUID, delivery_id: uuid.UUID) -> Response:
        """202; receivers know it by its identifier."""
        rows = WebhookDelivery.objects.filter(endpoint=self.endpoint(webhook_id))
        row = get_or_refuse(rows, "delivery", uuid=delivery_id)
        return Response(shown_delivery(webhooks.replay(row)), status=202)
