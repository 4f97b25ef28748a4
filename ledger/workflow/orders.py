"""Orders: given to every client that holds the model, excepted by officers, and who may still answer one."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, get_args

from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from ledger import log
from ledger.models import Client, ClientModel, LogEntry, Order, Window
from ledger.statements import predicates
from ledger.statements.coverage import FULL
from ledger.statements.predicates.base import LogRef
from ledger.statements.predicates.window_policy import WindowPolicy
from ledger.workflow import events
from ledger.workflow.actors import SYSTEM, Actor
from ledger.workflow.errors import WorkflowError
from ledger.workflow.lists import slices
from ledger.workflow.settling import settle_window
from ledger.workflow.step import exclusive, expect_reason, get_or_refuse, log_own, log_own_in_turn

SECRET_BYTES: Final = 32
_BATCH: Final = 500  # orders that are logged at once: bounds the memory
EXCEPTIONS: Final[tuple[str, ...]] = get_args(predicates.OrderException.model_fields["reason"].annotation)
#: The next step is the provider's own: whoever waits in these must not be blamed, nor overtaken.
OURS: Final = (Order.State.CLAIMED, Order.State.PROVED)


def issue_orders(window: Window) -> None:
    """Log an order for every client model that was committed before the mask, but for suspended clients.

    Due with the earliest request, or earlier where the policy gives fewer days. For a sample each order binds the
    provider to a secret of its own, which the challenge will disclose.
    """
    assert window.mask_entry is not None
    policy = WindowPolicy.model_validate(window.policy)
    due = due_at(policy, min(request.due_at for request in window.requests.all()), timezone.now())
    committed = ClientModel.objects.filter(
        model=window.model, state=ClientModel.State.CURRENT, entry__index__lt=window.mask_entry.index
    )
    ready = committed.exclude(client__in=suspended_clients())
    for some in slices(list(ready.select_related("circuit__entry", "entry").order_by("entry")), _BATCH):
        _issue(window, some, policy.coverage, due)


def due_at(policy: WindowPolicy, requests_due: datetime, now: datetime) -> datetime:
    """When orders made `now` are due."""
    if policy.order_days is None:
        return requests_due
    return min(requests_due, (now + timedelta(days=policy.order_days)).replace(microsecond=0))


def suspended_clients() -> QuerySet[Client]:
    """Clients that get no orders now."""
    return Client.objects.filter(suspensions__isnull=False, suspensions__lifted_entry=None)


def _issue(window: Window, client_models: Sequence[ClientModel], coverage: str, due: datetime) -> None:
    rows = []
    for client_model in client_models:
        secret = b"" if coverage == FULL else os.urandom(SECRET_BYTES)
        rows.append(
            Order(
                uuid=uuid.uuid4(),
                window=window,
                client_model=client_model,
                due_at=due,
                coverage=coverage,
                draw_sha256=hashlib.sha256(secret).hexdigest() if secret else "",
                draw_secret=secret.hex(),
            )
        )
    for row, entry in zip(rows, log_own_in_turn(_said_of(window, row) for row in rows), strict=True):
        row.entry = entry
    Order.objects.bulk_create(rows)
    for row in rows:
        events.record(
            "order.issued", window=window.uuid, order=row.uuid, client=row.client_model.client_id,
            model=window.model_id, entry=row.entry,
        )  # fmt: skip


def _said_of(window: Window, row: Order) -> predicates.Order:
    assert window.mask_entry is not None
    return predicates.Order(
        order=str(row.uuid),
        window=str(window.uuid),
        client=str(row.client_model.client_id),
        commitment=log.entry_ref(row.client_model.entry),
        mask=log.entry_ref(window.mask_entry),
        circuit=log.entry_ref(row.client_model.circuit.entry),
        coverage=row.coverage,
        draw_sha256=row.draw_sha256 or None,
        due_at=row.due_at,
    )


@exclusive
def except_order(order_id: uuid.UUID | str, reason: str, *, actor: Actor = SYSTEM) -> Order:
    """Release a client from an order, for a reason that is a code. Logged; certificates list it as excepted.

    Raises WorkflowError: unknown (404), unknown reason (422), met, certified, or the provider's own step is next
    (409). Again: nothing happens.
    """
    order = get_or_refuse(_WHOLE, "order", uuid=order_id)
    expect_reason(reason, EXCEPTIONS)
    if order.state == Order.State.EXCEPTED:
        return order
    if order.state == Order.State.MET:
        raise WorkflowError(
            "order-met", _("order %(uuid)s is met: there is nothing to except") % {"uuid": order.uuid}
        )
    if order.window.state == Window.State.CERTIFIED:
        raise WorkflowError(
            "window-certified",
            _("the window of order %(uuid)s is certified: what it says stays") % {"uuid": order.uuid},
        )
    if order.state in OURS:
        raise WorkflowError(
            "order-pending",
            _("order %(uuid)s is %(state)s: wait for our own answer to it")
            % {"uuid": order.uuid, "state": _(order.state)},
        )
    order.exception_entry = log_own(
        predicates.OrderException(
            order=log.entry_ref(order.entry),
            client=str(order.client_model.client_id),
            reason=reason,
            excepted_at=timezone.now(),
        )
    )
    order.state, order.exception_reason = Order.State.EXCEPTED, reason
    order.save()
    record_about("order.excepted", order, actor, entry=order.exception_entry, reason=reason)
    settle_window(order.window)
    return order


def order_of(client: Client, ref: LogRef) -> Order:
    """The order to `client` that a statement of its refers to. Raises WorkflowError (422) if it is none."""
    order = _WHOLE.filter(client_model__client=client, entry=log.resolve(ref)).first()
    if order is None:
        raise WorkflowError("wrong-reference", f"log entry {ref.index} is no order to client {client.uuid}", 422)
    return order


def expect_answerable(order: Order) -> None:
    """Raise WorkflowError (409) unless a claim or a proof for this order still counts.

    Until certification late answers are taken like others. Afterwards too, for a supplement, as long as nothing
    newer is about the same commitment: no other commitment, no later order, no later mask on its way.
    """
    if order.state == Order.State.EXCEPTED:
        raise WorkflowError(
            "order-excepted", _("order %(uuid)s was excepted: nothing is to be done") % {"uuid": order.uuid}
        )
    held = order.client_model
    if order.window.state != Window.State.CERTIFIED or order.state == Order.State.MET:
        return
    if held.state != ClientModel.State.CURRENT:
        raise WorkflowError(
            "commitment-replaced",
            _(
                "the window of order %(uuid)s is certified, and its commitment (log entry "
                "%(entry_id)s) is %(state)s: it cannot be answered any more"
            )
            % {"uuid": order.uuid, "entry_id": held.entry_id, "state": _(held.state)},
        )
    later = held.orders.filter(entry__index__gt=order.entry_id).first()
    if later is not None:
        raise WorkflowError(
            "later-order",
            _(
                "the window of order %(uuid)s is certified, and order %(uuid2)s is about the same "
                "commitment: answer that one"
            )
            % {"uuid": order.uuid, "uuid2": later.uuid},
        )
    mask = order.window.model.windows.filter(state=Window.State.CLOSED).first()
    if mask is not None and not suspended_clients().filter(pk=held.client_id).exists():
        raise WorkflowError(
            "later-order",
            _("the window of order %(uuid)s is certified, and window %(uuid2)s is about to give new orders")
            % {"uuid": order.uuid, "uuid2": mask.uuid},
        )


def record_about(
    kind: str, order: Order, actor: Actor = SYSTEM, *, entry: LogEntry | None = None, **data: object
) -> None:
    """An event about an order, with everything that belongs to it."""
    events.record(
        kind, actor=actor, window=order.window_id, order=order.uuid, client=order.client_model.client_id,
        model=order.window.model_id, entry=entry, data=data,
    )  # fmt: skip


_WHOLE: Final = Order.objects.select_related("window", "entry", "client_model")
