"""What is done about clients that do not answer: reminders, escalation, suspension, as their window's policy says.

Part of the beat's round. Each step is taken once for an order, whoever calls this and however often; after a pause
of the ledger's own the steps that were missed are made up for, but of several reminders only the last one is sent.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from ledger.models import Order, OrderNotice, Window
from ledger.statements.predicates.window_policy import WindowPolicy
from ledger.workflow.actors import SYSTEM, Actor
from ledger.workflow.errors import WorkflowError
from ledger.workflow.orders import record_about
from ledger.workflow.step import exclusive, get_or_refuse
from ledger.workflow.suspension import suspend

OVERDUE, ESCALATED, SUSPENDED = "overdue", "escalated", "suspended"
#: The client's own move is next; of those whose claim is being judged nothing is asked.
SILENT = (Order.State.ISSUED, Order.State.CHALLENGED, Order.State.REJECTED)


def chase() -> int:
    """Take every step that is due now; returns how many events that made. Safe anywhere, any number of times."""
    return sum(_chase(order.pk) for order in silent_orders() if any(_missed(order, timezone.now())))


def silent_orders() -> QuerySet[Order]:
    """Orders whose client's move is next, in windows that are not certified."""
    rows = Order.objects.filter(state__in=SILENT, window__state__in=[Window.State.MASKED, Window.State.SETTLED])
    return (
        rows.select_related("window", "entry", "client_model__client")
        .prefetch_related("notices")
        .order_by("due_at")
    )


def escalated() -> Q:
    """What officers should look into: orders about which they were told, and that are not met or excepted since."""
    told = OrderNotice.objects.filter(order=OuterRef("pk"), key=ESCALATED)
    return Q(Exists(told)) & ~Q(state__in=(Order.State.MET, Order.State.EXCEPTED))


@exclusive
def remind(order_id: uuid.UUID | str, *, actor: Actor = SYSTEM) -> Order:
    """An officer reminds a client now. Raises WorkflowError: unknown (404), nothing is awaited from it (409)."""
    order = get_or_refuse(Order.objects.select_related("window", "client_model"), "order", uuid=order_id)
    if order.state not in SILENT or order.window.state == Window.State.CERTIFIED:
        raise WorkflowError(
            "not-awaited",
            _("order %(uuid)s is %(state)s: nothing is awaited from the client")
            % {"uuid": order.uuid, "state": _(order.state)},
        )
    record_about("order.reminder", order, actor, dueAt=_text(order.due_at), by="officer")
    return order


@exclusive
def _chase(order_id: uuid.UUID) -> int:
    """Again under the lock: what another round has done meanwhile is not done twice."""
    order = silent_orders().filter(pk=order_id).first()
    missed = [] if order is None else list(_missed(order, timezone.now()))
    if order is None or not missed:
        return 0
    OrderNotice.objects.bulk_create(OrderNotice(order=order, key=key) for key in missed)
    reminders = [key for key in missed if key.startswith(("before-", "after-"))]
    if reminders:
        record_about("order.reminder", order, dueAt=_text(order.due_at), by=reminders[-1])
    for key, kind in ((OVERDUE, "order.overdue"), (ESCALATED, "order.escalated")):
        if key in missed:
            record_about(kind, order, dueAt=_text(order.due_at))
    client = order.client_model.client
    if SUSPENDED in missed and not client.suspensions.filter(lifted_entry=None).exists():
        suspend(client, "rejected" if order.state == Order.State.REJECTED else "unanswered", order, SYSTEM)
    return len(missed)


def _missed(order: Order, now: datetime) -> Iterator[str]:
    """The steps due by now that were not taken, in the order of their times."""
    taken = {notice.key for notice in order.notices.all()}
    for moment, key in sorted(_steps(order, WindowPolicy.model_validate(order.window.policy))):
        if moment <= now and key not in taken:
            yield key


def _steps(order: Order, policy: WindowPolicy) -> Iterator[tuple[datetime, str]]:
    due = order.due_at
    for days in policy.remind_days_before:
        if due - timedelta(days=days) > order.entry.created_at:  # no reminder together with the order itself
            yield due - timedelta(days=days), f"before-{days}"
    yield due, OVERDUE
    for days in policy.remind_days_after:
        yield due + timedelta(days=days), f"after-{days}"
    if policy.escalate_days_after is not None:
        yield due + timedelta(days=policy.escalate_days_after), ESCALATED
    if policy.suspend_days_after is not None:
        yield due + timedelta(days=policy.suspend_days_after), SUSPENDED


def _text(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
