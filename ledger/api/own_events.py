"""What happens to a client and its orders, as it happens: long polling."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Final

from django.db.models import QuerySet
from django.http import Http404
from pydantic import Field
from rest_framework.request import Request
from rest_framework.response import Response

from ledger.api import render, waiting
from ledger.api.auth import ClientView
from ledger.api.inputs import Input
from ledger.api.operations import operation
from ledger.api.outputs import work as outputs
from ledger.api.paging import query
from ledger.models import Event, Order

_MOST: Final = 200  # events in one answer
_LONGEST: Final = 30  # seconds
_AGAIN: Final = 5  # seconds until somebody who got no place may ask again


class EventQuery(Input):
    """After which event, and how long to wait for another one."""

    after: int = Field(0, ge=0, lt=2**63, description="`last` of the answer before; 0 to begin")
    wait: int = Field(0, ge=0, le=_LONGEST, description="seconds to wait if there is nothing yet")


def events_after(
    rows: QuerySet[Event], asked: EventQuery, caller: str, shown: Callable[[Event], render.Json]
) -> Response:
    """Those of `rows` that come after what was seen; the caller waits if it wants to and there is a place."""
    rows = rows.filter(pk__gt=asked.after).select_related("entry").order_by("pk")

    def look() -> list[Event]:
        return list(rows.all()[:_MOST])

    found, headers = look(), {}
    if not found and asked.wait:
        with waiting.place(caller) as free:
            if free:
                found = waiting.until(look, asked.wait)
            else:
                headers["Retry-After"] = str(min(_AGAIN, asked.wait))
    last = found[-1].pk if found else asked.after
    return Response({"items": [shown(row) for row in found], "last": last}, headers=headers)


class MyEvents(ClientView):
    """GET: about the client and all its orders."""

    @operation("Wait for what happens to the asking client", query=EventQuery, gives={200: outputs.Events})
    def get(self, request: Request) -> Response:
        """At once if there is something after `after`, else when something happens or `wait` seconds are over.

        At most 200, oldest first. With Retry-After the server had no place to wait: ask again after so many
        seconds.
        """
        own = Event.objects.filter(client=self.client.pk)
        return events_after(own, query(request, EventQuery), str(self.client.pk), render.own_event)


class OrderEvents(ClientView):
    """GET: about one order."""

    @operation("Wait for what happens to an order", query=EventQuery, gives={200: outputs.Events})
    def get(self, request: Request, order_id: uuid.UUID) -> Response:
        """The same for one order; another client's does not exist."""
        if not Order.objects.filter(client_model__client=self.client, uuid=order_id).exists():
            raise Http404
        own = Event.objects.filter(client=self.client.pk, order=order_id)
        return events_after(own, query(request, EventQuery), str(self.client.pk), render.own_event)
