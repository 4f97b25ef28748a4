"""Claims and their challenges: a client commits to its answer, then the log fixes the random numbers."""

from __future__ import annotations

import uuid

from ledger import log, publication, queue
from ledger.models import Challenge, Claim, Job, Order
from ledger.statements import predicates
from ledger.statements.coverage import FULL, of_attempt
from ledger.workflow import points
from ledger.workflow.actors import client_actor
from ledger.workflow.errors import WorkflowError
from ledger.workflow.orders import expect_answerable, order_of, record_about
from ledger.workflow.settling import unsettle_window
from ledger.workflow.step import (
    Accepted,
    Submission,
    exclusive,
    get_or_refuse,
    log_own,
    open_submission,
    replayed,
)


@exclusive
def accept_claim(body: bytes) -> Accepted:
    """Log a client's claim (a DSSE envelope) to have met its order, and ask for its challenge.

    Each attempt is logged: after a rejection the next one has the next number. Raises WorkflowError: not an
    order of this client, or files that do not fit (422); a claim pending, met, excepted, or too late even for a
    supplement (409).
    """
    submission = open_submission(body, predicates.Claim)
    return replayed(submission.envelope) or _accept(submission)


def _accept(submission: Submission[predicates.Claim]) -> Accepted:
    client, said = submission.client, submission.predicate
    order = order_of(client, said.order)
    _expect_open(order, said.attempt)
    _check_points(submission, order.client_model.chunks)
    accepted = submission.append()
    claim = Claim.objects.create(
        order=order,
        attempt=said.attempt,
        weights_sha256=said.weights_sha256,
        solution_sha256=said.solution_sha256,
        other_tensors_sha256=said.other_tensors_sha256,
        entry=accepted.entry,
    )
    order.state, order.attempt = Order.State.CLAIMED, said.attempt
    order.save()
    unsettle_window(order.window)
    record_about("order.claimed", order, client_actor(client), entry=accepted.entry, late=claim.is_late)
    queue.enqueue(Job.Kind.CHALLENGE, claim.uuid)
    return accepted


def _expect_open(order: Order, attempt: int) -> None:
    expect_answerable(order)
    if order.state == Order.State.MET:
        raise WorkflowError("order-met", f"order {order.uuid} is met already: there is nothing more to claim")
    if order.state not in (Order.State.ISSUED, Order.State.REJECTED):
        raise WorkflowError(
            "claim-pending", f"attempt {order.attempt} at order {order.uuid} is {order.state}: await it"
        )
    if attempt != order.attempt + 1:
        raise WorkflowError("wrong-attempt", f"got attempt {attempt}, expected {order.attempt + 1}", 422)


def _check_points(submission: Submission[predicates.Claim], chunks: int) -> None:
    # How many chunks the mask touches is the verifier's to count: the ledger does not read masks.
    client, said = submission.client, submission.predicate
    exactly = range(chunks, chunks + 1)
    points.check_file(
        client,
        "weights",
        said.weights_sha256,
        said.weights_root,
        record=points.WEIGHTS_RECORD,
        records=exactly,
    )
    points.check_file(
        client,
        "solution",
        said.solution_sha256,
        said.solution_root,
        record=points.SOLUTION_RECORD,
        records=range(1, chunks + 1),
    )


def draw_challenge(claim_id: uuid.UUID | str) -> Challenge:
    """Log which checkpoint is the claim's challenge: the first published one that covers it.

    Again for the same claim: the same challenge. Raises WorkflowError (404), and NotCosignedError while
    witnesses keep the checkpoint from being published.
    """
    publication.try_to_publish()  # before the log's lock is taken: witnesses take their time
    return _draw(claim_id)


@exclusive
def _draw(claim_id: uuid.UUID | str) -> Challenge:
    claim = get_or_refuse(
        Claim.objects.select_related("order__window", "order__client_model", "entry"), "claim", uuid=claim_id
    )
    known = Challenge.objects.filter(claim=claim).first()
    if known is not None:
        return known
    checkpoint = log.first_checkpoint_covering(claim.entry)
    order = claim.order
    sampled = of_attempt(order.coverage, claim.attempt) != FULL
    entry = log_own(
        predicates.Challenge(
            claim=log.entry_ref(claim.entry),
            checkpoint=checkpoint.note,
            claimed_at=claim.entry.created_at,
            draw_secret=order.draw_secret if sampled else None,
        )
    )
    order.state = Order.State.CHALLENGED
    order.save()
    record_about("order.challenged", order, entry=entry)
    return Challenge.objects.create(claim=claim, checkpoint=checkpoint, entry=entry)
