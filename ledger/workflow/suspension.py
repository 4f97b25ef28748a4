"""Suspension: a client that does not comply gets no more orders, and every certificate of that time names it."""

from __future__ import annotations

import uuid
from typing import Final

from django.utils import timezone
from django.utils.translation import gettext as _

from ledger.models import Client, LogEntry, Order, Suspension
from ledger.statements import predicates
from ledger.workflow import events
from ledger.workflow.actors import SYSTEM, Actor
from ledger.workflow.errors import WorkflowError
from ledger.workflow.step import exclusive, expect_reason, get_or_refuse, log_own

#: Why an officer suspends or reinstates; the other reasons are the ledger's own.
SUSPEND: Final = ("officer", "unanswered", "rejected")
LIFT: Final = ("officer", "complied")


@exclusive
def suspend_client(client_id: uuid.UUID | str, reason: str = "officer", *, actor: Actor = SYSTEM) -> Suspension:
    """No more orders for a client. Logged. What it has been ordered before, it may still answer.

    Raises WorkflowError: unknown (404), unknown reason (422), suspended already (409).
    """
    client = get_or_refuse(Client.objects.all(), "client", uuid=client_id)
    expect_reason(reason, SUSPEND)
    if _current(client) is not None:
        raise WorkflowError("suspended", _("client %(uuid)s is suspended already") % {"uuid": client.uuid})
    return suspend(client, reason, None, actor)


@exclusive
def reinstate_client(client_id: uuid.UUID | str, reason: str = "officer", *, actor: Actor = SYSTEM) -> Suspension:
    """Lift a client's suspension: it gets the orders of later masks. Logged.

    Raises WorkflowError: unknown (404), unknown reason (422), not suspended (409).
    """
    client = get_or_refuse(Client.objects.all(), "client", uuid=client_id)
    expect_reason(reason, LIFT)
    current = _current(client)
    if current is None:
        raise WorkflowError("not-suspended", _("client %(uuid)s is not suspended") % {"uuid": client.uuid})
    return _lift(current, reason, actor)


def suspend(client: Client, reason: str, order: Order | None, actor: Actor) -> Suspension:
    """Log and record; the caller holds the log's lock and knows that the client is not suspended."""
    entry = _log(client, "suspend", reason)
    events.record(
        "client.suspended", actor=actor, client=client.uuid, order=None if order is None else order.uuid,
        entry=entry, data={"reason": reason},
    )  # fmt: skip
    return Suspension.objects.create(client=client, order=order, reason=reason, set_entry=entry)


def lift_for(order: Order) -> None:
    """An order was met: a suspension because of it ends."""
    current = order.suspensions.filter(lifted_entry=None).first()
    if current is not None:
        _lift(current, "complied", SYSTEM)


def _current(client: Client) -> Suspension | None:
    return client.suspensions.filter(lifted_entry=None).first()


def _lift(current: Suspension, reason: str, actor: Actor) -> Suspension:
    current.lifted_entry = _log(current.client, "lift", reason)
    current.lift_reason = reason
    current.save()
    events.record(
        "client.reinstated", actor=actor, client=current.client_id, entry=current.lifted_entry,
        data={"reason": reason},
    )  # fmt: skip
    return current


def _log(client: Client, action: str, reason: str) -> LogEntry:
    earlier = client.suspensions.all()
    return log_own(
        predicates.ClientSuspension.model_validate(
            {
                "client": str(client.uuid),
                "action": action,
                "number": 1 + sum(1 if one.lifted_entry_id is None else 2 for one in earlier),
                "reason": reason,
                "decided_at": timezone.now(),
            }
        )
    )
