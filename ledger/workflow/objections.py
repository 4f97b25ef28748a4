"""Objections of clients to orders: logged, shown, and nothing more; what follows is the officers' to decide."""

from __future__ import annotations

from ledger.models import Objection, Order, Window
from ledger.statements import predicates
from ledger.workflow.actors import client_actor
from ledger.workflow.errors import WorkflowError
from ledger.workflow.orders import order_of, record_about
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
    order = order_of(client, said.order)
    if order.state == Order.State.MET or order.window.state == Window.State.CERTIFIED:
        raise WorkflowError(
            "too-late", f"order {order.uuid} is {order.state} and its window {order.window.state}: nothing is open"
        )
    if Objection.objects.filter(order=order).exists():
        raise WorkflowError("objected", f"the client has objected to order {order.uuid} before")
    accepted = submission.append()
    Objection.objects.create(order=order, reason=said.reason, entry=accepted.entry)
    record_about("order.objected", order, client_actor(client), entry=accepted.entry, reason=said.reason)
    return accepted
