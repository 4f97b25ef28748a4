"""Certificates: what was done about each request of a window, and what is not proved."""

from __future__ import annotations

import uuid
from typing import Final, Literal

from django.utils import timezone

from ledger import log
from ledger.models import Certificate, CircuitRelease, DeletionRequest, Order, VerdictRecord, Window
from ledger.statements import predicates
from ledger.statements.predicates.certificate import Outcome
from ledger.workflow.errors import WorkflowError
from ledger.workflow.step import exclusive, get_or_refuse, log_own

PROVES: Final = [
    (
        "For every order marked met, the weights that the client committed to in its claim result from its "
        "earlier committed weights and curvature by the unlearning operator under this window's mask, in "
        "every chunk that the mask touches."
    ),
    "In these weights every masked weight is zero; no untouched chunk and no other tensor has changed.",
    "Commitments stand in the log before the mask, the claim before its challenge, that before the proof.",
]
DOES_NOT_PROVE: Final = [
    "That a client deploys the weights it committed to, or has destroyed earlier copies.",
    "That the committed curvature was computed honestly from the client's data.",
    (
        "That the mask removes all influence of the forgotten data: the provider computes it, and what it "
        "achieves is measured, not proved."
    ),
    "Anything about orders marked rejected or unanswered.",
]
DEVELOPMENT_SRS: Final = (
    "Soundness against whoever made the development SRS: it did not come from a public ceremony."
)


@exclusive
def certify(window_id: uuid.UUID | str) -> list[Certificate]:
    """Log one certificate per request of a window whose orders are settled; again: the same certificates.

    Settled means met, rejected, or past due without an answer. A request is fulfilled when every order was
    met; otherwise it stays in progress, and its certificate says who did not comply. Raises WorkflowError:
    unknown (404), no mask yet or orders pending (409).
    """
    window = get_or_refuse(Window.objects.all(), "window", uuid=window_id)
    if window.state == Window.State.CERTIFIED:
        return list(window.certificates.order_by("entry"))
    if window.mask_entry is None:
        raise WorkflowError("no-mask", f"window {window.uuid} is {window.state}: there is no mask to certify yet")
    orders = list(window.orders.select_related("client_model__circuit", "entry").order_by("entry"))
    outcomes = [_outcome(order) for order in orders]
    complete = all(outcome.status == "met" for outcome in outcomes)
    srs = _provenance(orders)
    requests = window.requests.select_related("filed_entry", "decision_entry").order_by("filed_entry")
    made = [_certify(window, request, outcomes, srs, complete=complete) for request in requests]
    if complete:
        window.requests.update(state=DeletionRequest.State.FULFILLED)
    window.state = Window.State.CERTIFIED
    window.save()
    return made


def _certify(
    window: Window, request: DeletionRequest, outcomes: list[Outcome], srs: str, *, complete: bool
) -> Certificate:
    assert request.decision_entry is not None
    assert window.closed_entry is not None
    assert window.mask_entry is not None
    entry = log_own(
        predicates.Certificate(
            request=str(request.uuid),
            filed=log.entry_ref(request.filed_entry),
            decision=log.entry_ref(request.decision_entry),
            window=log.entry_ref(window.closed_entry),
            mask=log.entry_ref(window.mask_entry),
            outcomes=outcomes,
            srs_provenance=srs,
            proves=PROVES,
            does_not_prove=[*DOES_NOT_PROVE, *([DEVELOPMENT_SRS] if srs == "development" else [])],
            issued_at=timezone.now(),
        )
    )
    return Certificate.objects.create(request=request, window=window, complete=complete, entry=entry)


def _outcome(order: Order) -> Outcome:
    verdict = VerdictRecord.objects.filter(proof__claim__order=order).order_by("-entry").first()
    return Outcome(
        order=log.entry_ref(order.entry),
        client=str(order.client_model.client_id),
        status=_status(order),
        verdict=None if verdict is None else log.entry_ref(verdict.entry),
    )


def _status(order: Order) -> Literal["met", "rejected", "unanswered"]:
    if order.state == Order.State.MET:
        return "met"
    if order.state == Order.State.REJECTED:
        return "rejected"
    if order.due_at < timezone.now() and order.state in (Order.State.ISSUED, Order.State.CHALLENGED):
        return "unanswered"
    # Claimed or proved: the next step is the provider's own, so the client must not be blamed.
    raise WorkflowError(
        "order-pending",
        f"order {order.uuid} is {order.state} and due at {order.due_at:%Y-%m-%dT%H:%M:%SZ}: wait for it",
    )


def _provenance(orders: list[Order]) -> str:
    """`ceremony` only if every circuit in question has such an SRS."""
    releases = {order.client_model.circuit for order in orders} or set(CircuitRelease.objects.all()[:1])
    return "ceremony" if releases and all(r.srs_provenance == "ceremony" for r in releases) else "development"
