"""Objections of clients to orders: logged, shown, and nothing more; what follows is the officers' to decide."""

from __future__ import annotations

from ledger import log
from ledger.models import Objection, Order, Window
from ledger.statements import predicates
from ledger.workflow import events
from ledger.workflow.actors import Actor
from ledger.workflow.errors import WorkflowError
from ledger.workflow.step import Accepted, Submission, exclusive, open_submission, replayed


@exclusive
def accept_objection(body: bytes) -> Accepted:
    """Log a client's objection (a DSSE envelope) to an order of its own. The order's state does not change.

    Raises WorkflowError: no order of this client (422); met, certified, or objected to before (409).
    """
    submission = open_submission(body, predicates.OrderObjection)
    return replayed(submission.envelope) or _accept(submission)


def _accept(submission: Submission[predicates.OrderObjection]) -> Accepted:
    client, said = submission.client, submission.predicate
    orders = Order.objects.filter(client_model__client=client).select_related("client_model", "window")
    order = orders.filter(entry=log.resolve(said.order)).first()
    if order is None:
        raise WorkflowError(
            "wrong-reference", f"log entry {said.order.index} is no order to client {client.uuid}", 422
        )
    if order.state == Order.State.MET or order.window.state == Window.State.CERTIFIED:
        raise WorkflowError(
            "too-late", f"order {order.uuid} is {order.state} and its window {order.window.state}: nothing is open"
        )
    if Objection.objects.filter(order=order).exists():
        raise WorkflowError("objected", f"the client has objected to order {order.uuid} before")
    accepted = submission.append()
    Objection.objects.create(order=order, reason=said.reason, entry=accepted.entry)
    events.record(
        "order.objected",
        actor=Actor("client", str(client.uuid), client.name),
        order=order.uuid,
        window=order.window_id,
        client=client.uuid,
        model=order.client_model.model_id,
        entry=accepted.entry,
        data={"reason": said.reason},
    )
    return accepted
