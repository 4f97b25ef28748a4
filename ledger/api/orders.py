"""Orders as officers see them, and what they do about silence."""

from __future__ import annotations

import uuid

from rest_framework.request import Request
from rest_framework.response import Response

from ledger.api import render_windows, window_inputs
from ledger.api.auth import OfficerView
from ledger.api.filters import Known, choice, flag, moment, page, query, uuid_of, whole
from ledger.api.inputs import parse
from ledger.models import Order
from ledger.workflow.orders import except_order
from ledger.workflow.silence import ESCALATED, remind
from ledger.workflow.step import get_or_refuse
from ledger.workflow.suspension import reinstate_client, suspend_client

_ORDERS = Order.objects.select_related("client_model__client", "entry", "exception_entry")
_KNOWN: Known = {
    "state": ("state", choice(Order.State.values)),
    "window": ("window", uuid_of),
    "client": ("client_model__client", uuid_of),
    "model": ("client_model__model", uuid_of),
    "dueBefore": ("due_at__lt", moment),
    "after": ("entry__gt", whole),
}


class Orders(OfficerView):
    """GET: orders of all clients in the order of the log, filtered by state, window, client, model, dueBefore."""

    def get(self, request: Request) -> Response:
        """At most 100; `next` is the `after` of the next page. escalated=true: what officers should look into."""
        rows = query(request, _ORDERS, _KNOWN, "escalated")
        if flag("escalated", request.query_params.get("escalated", "false")):
            rows = rows.filter(notices__key=ESCALATED).exclude(state__in=[Order.State.MET, Order.State.EXCEPTED])
        found, following = page(request, rows.order_by("entry"), lambda row: row.entry_id)
        return Response({"orders": [render_windows.order_line(row) for row in found], "next": following})


class OrderView(OfficerView):
    """GET: one order."""

    def get(self, _request: Request, order_id: uuid.UUID) -> Response:
        """State, attempts, steps against silence, timeline."""
        return _order(order_id)


class OrderException(OfficerView):
    """POST {reason}: release the client from the order."""

    def post(self, request: Request, order_id: uuid.UUID) -> Response:
        """The order."""
        except_order(order_id, parse(request, window_inputs.Reason).reason, actor=self.actor)
        return _order(order_id)


class OrderReminder(OfficerView):
    """POST: remind the client now."""

    def post(self, _request: Request, order_id: uuid.UUID) -> Response:
        """The order."""
        remind(order_id, actor=self.actor)
        return _order(order_id)


class ClientSuspension(OfficerView):
    """POST {reason?}: no more orders for a client."""

    def post(self, request: Request, client_id: uuid.UUID) -> Response:
        """201 with the suspension."""
        reason = parse(request, window_inputs.OfficersReason).reason
        return Response(render_windows.suspension(suspend_client(client_id, reason, actor=self.actor)), status=201)


class ClientReinstatement(OfficerView):
    """POST {reason?}: the client gets orders again."""

    def post(self, request: Request, client_id: uuid.UUID) -> Response:
        """The suspension, lifted."""
        reason = parse(request, window_inputs.OfficersReason).reason
        return Response(render_windows.suspension(reinstate_client(client_id, reason, actor=self.actor)))


def _order(order_id: uuid.UUID) -> Response:
    return Response(render_windows.order(get_or_refuse(_ORDERS, "order", uuid=order_id)))
