"""Orders as officers see them, and what they do about silence."""

from __future__ import annotations

import uuid
from typing import Any, ClassVar

from django.db.models import QuerySet
from pydantic import AwareDatetime, Field
from rest_framework.request import Request
from rest_framework.response import Response

from ledger.api import render_windows, request_inputs, window_inputs
from ledger.api.auth import OfficerView
from ledger.api.inputs import parse
from ledger.api.operations import operation
from ledger.api.outputs import windows as outputs
from ledger.api.outputs.base import Page
from ledger.api.paging import Query, page
from ledger.models import Order
from ledger.workflow.orders import except_order
from ledger.workflow.silence import escalated, remind
from ledger.workflow.step import get_or_refuse
from ledger.workflow.suspension import reinstate_client, suspend_client

_ORDERS = Order.objects.select_related("client_model__client", "entry", "exception_entry")


def _order(order_id: uuid.UUID) -> dict[str, Any]:
    return render_windows.order(get_or_refuse(_ORDERS, "order", uuid=order_id))


class OrderQuery(Query):
    """GET /window-orders."""

    lookups: ClassVar[dict[str, str]] = {
        "client": "client_model__client",
        "model": "client_model__model",
        "due_before": "due_at__lt",
    }

    state: Order.State | None = None
    window: uuid.UUID | None = None
    client: uuid.UUID | None = None
    model: uuid.UUID | None = None
    due_before: AwareDatetime | None = None
    escalated: bool | None = Field(None, description="true: what officers should look into")

    def narrow(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Escalated are silent orders about which officers were told."""
        if self.escalated is None:
            return super().narrow(rows)
        rows = rows.filter(escalated() if self.escalated else ~escalated())
        return self.model_copy(update={"escalated": None}).narrow(rows)


class WindowOrders(OfficerView):
    """GET: orders of all clients."""

    @operation(
        "List the orders of all clients",
        needs="ledger.view_order",
        gives={200: Page[outputs.OrderLine]},
        query=OrderQuery,
    )
    def get(self, request: Request) -> Response:
        """In the order of the log."""
        return page(request, _ORDERS, OrderQuery, render_windows.order_line, ("entry",))


class WindowOrderView(OfficerView):
    """GET: one order."""

    @operation("Read an order as officers see it", needs="ledger.view_order", gives={200: outputs.WindowOrder})
    def get(self, _request: Request, order_id: uuid.UUID) -> Response:
        """State, attempts, steps against silence, timeline."""
        return Response(_order(order_id))


class OrderException(OfficerView):
    """POST {reason}: release the client from the order."""

    @operation(
        "Release a client from an order",
        needs="ledger.change_order",
        takes=request_inputs.Reason,
        gives={200: outputs.WindowOrder},
        guards=_order,
    )
    def post(self, request: Request, order_id: uuid.UUID) -> Response:
        """The order."""
        except_order(order_id, parse(request, request_inputs.Reason).reason, actor=self.actor)
        return Response(_order(order_id))


class OrderReminder(OfficerView):
    """POST: remind the client now."""

    @operation(
        "Remind a client of an order",
        needs="ledger.change_order",
        gives={200: outputs.WindowOrder},
        guards=_order,
    )
    def post(self, _request: Request, order_id: uuid.UUID) -> Response:
        """The order."""
        remind(order_id, actor=self.actor)
        return Response(_order(order_id))


class ClientSuspension(OfficerView):
    """POST {reason?}: no more orders for a client."""

    @operation(
        "Suspend a client",
        needs="ledger.change_client",
        takes=window_inputs.OfficersReason,
        gives={201: outputs.Suspension},
    )
    def post(self, request: Request, client_id: uuid.UUID) -> Response:
        """201 with the suspension."""
        reason = parse(request, window_inputs.OfficersReason).reason
        return Response(render_windows.suspension(suspend_client(client_id, reason, actor=self.actor)), status=201)


class ClientReinstatement(OfficerView):
    """POST {reason?}: the client gets orders again."""

    @operation(
        "Reinstate a client",
        needs="ledger.change_client",
        takes=window_inputs.OfficersReason,
        gives={200: outputs.Suspension},
    )
    def post(self, request: Request, client_id: uuid.UUID) -> Response:
        """The suspension, lifted."""
        reason = parse(request, window_inputs.OfficersReason).reason
        return Response(render_windows.suspension(reinstate_client(client_id, reason, actor=self.actor)))
