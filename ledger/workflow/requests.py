"""Deletion requests: filed, then approved or denied. The log learns a salted commitment, never who asked."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from django.utils import timezone

from ledger import log
from ledger.models import Approval, DeletionRequest
from ledger.statements import lifecycle, predicates
from ledger.workflow.actors import SYSTEM, Actor
from ledger.workflow.errors import WorkflowError
from ledger.workflow.events import record
from ledger.workflow.filing import Filing, file_many
from ledger.workflow.references import freeze
from ledger.workflow.step import exclusive, get_or_refuse, log_own
from ledger.workflow.terms import Policy, policy_of

Id = uuid.UUID | str


def file_request(
    regulation: str,
    subject: str,
    forget: Mapping[str, Any],
    received_at: datetime | None = None,
    *,
    subject_request_id: uuid.UUID | None = None,
    status_callback_urls: Sequence[str] = (),
    allow_duplicate: str = "",
    actor: Actor = SYSTEM,
) -> DeletionRequest:
    """Record a request and log its commitment; the due date follows from the regulation's terms.

    `subject` is the controller's reference to the person (sealed in the vault), `forget` says which training data:
    see `ledger.workflow.references`. The same `subject_request_id` again returns the request of that number. Raises
    WorkflowError: values that cannot be (422); the number names another request, or the person has asked for the
    same before, and `allow_duplicate` gives no reason to file it nevertheless (409).
    """
    filing = Filing(
        regulation, subject, forget, received_at, subject_request_id, tuple(status_callback_urls), allow_duplicate
    )
    return submit(filing, actor=actor)[0]


def submit(filing: Filing, *, actor: Actor) -> tuple[DeletionRequest, bool]:
    """The same, and whether this call has filed it."""
    (outcome,) = file_many([filing], actor=actor)
    if outcome.refusal is not None:
        raise outcome.refusal
    assert outcome.request is not None, "it was filed, or refused above"
    return DeletionRequest.objects.get(uuid=outcome.request), outcome.created


@exclusive
def decide_request(
    request_id: Id, decision: Literal["approved", "denied"], reason: str = "", *, actor: Actor = SYSTEM
) -> DeletionRequest:
    """Approve or deny an open request; `reason` is a code of `lifecycle.APPROVAL` or `lifecycle.DENIAL`. Logged.

    Where the policy asks for four eyes the first approval is only recorded: the request stays open until another
    officer approves it too. Approval fixes the samples. Raises WorkflowError: unknown (404); decided before, held,
    nobody identified, an officer's second approval (409); an officer whom the policy excludes (403); bad decision
    or reason, or nothing matches any more (422).
    """
    request = get_or_refuse(DeletionRequest.objects.all(), "deletion request", uuid=request_id)
    if decision not in ("approved", "denied"):
        raise WorkflowError("bad-decision", f"a decision is 'approved' or 'denied', got {decision!r:.80}", 422)
    approved = decision == "approved"
    if reason or not approved:  # a denial needs one
        expect_code("approval" if approved else "denial", reason)
    if request.state != DeletionRequest.State.OPEN:
        raise WorkflowError(
            "already-decided", f"request {request.uuid} is {request.state}, only open ones are decided"
        )
    if approved:
        _expect_approvable(request, policy_of(request))
        if not _approve(request, policy_of(request), actor):
            return request
        freeze(request)
    move(request, DeletionRequest.State.IN_PROGRESS if approved else DeletionRequest.State.DENIED)
    request.decision_reason = reason
    request.decision_entry = log_own(
        predicates.RequestDecision(
            request=str(request.uuid),
            filed=log.entry_ref(request.filed_entry),
            decision=decision,
            reason=reason,
            decided_at=timezone.now(),
            reference=request.reference or None,
        )
    )
    request.save()
    record(
        f"request.{decision}", actor=actor, request=request.uuid, entry=request.decision_entry,
        data={"reason": reason},
    )  # fmt: skip
    return request


def move(request: DeletionRequest, state: str) -> None:
    """Put a request into a state that may follow its own. Raises WorkflowError (409)."""
    if not lifecycle.may_follow(request.state, state):
        allowed = ", ".join(sorted(lifecycle.TRANSITIONS[request.state])) or "nothing: it is over"
        raise WorkflowError(
            "wrong-state", f"request {request.uuid} is {request.state} and cannot become {state}, only {allowed}"
        )
    request.state = state


def expect_code(register: str, code: str) -> None:
    """Refuse (422) a reason that is not in its register: words about a person must not reach the log."""
    codes = lifecycle.REASONS[register]
    if code not in codes:
        raise WorkflowError(
            "bad-reason", f"a reason for {register} is one of {', '.join(codes)}; got {code!r:.80}", 422
        )


def approvals_needed(request: DeletionRequest) -> int:
    """How many officers must approve."""
    return 2 if policy_of(request).four_eyes else 1


def _expect_approvable(request: DeletionRequest, policy: Policy) -> None:
    if request.held:
        raise WorkflowError("held", f"request {request.uuid} is under a legal hold: lift that first")
    if policy.identity_required and not request.verified:
        raise WorkflowError(
            "identity-not-verified",
            f"nobody was identified for request {request.uuid}: record an identity check first, or deny it",
        )


def _approve(request: DeletionRequest, policy: Policy, actor: Actor) -> bool:
    """Record an officer's yes; whether it is the last one needed."""
    officer = f"{actor.kind}:{actor.id}"
    if policy.four_eyes and actor.kind != "officer":
        raise WorkflowError(
            "needs-officers", "this approval needs two officers; it cannot be given in a batch", 403
        )
    if policy.exclude_filer and officer == request.filed_by:
        raise WorkflowError(
            "own-request", f"who filed request {request.uuid} does not approve it: ask another officer", 403
        )
    if Approval.objects.filter(request=request, officer=officer).exists():
        raise WorkflowError(
            "already-approved", f"you have approved request {request.uuid} before: another officer must approve it"
        )
    Approval.objects.create(request=request, officer=officer, name=actor.name)
    given = request.approvals.count()
    if policy.four_eyes and given < 2:
        record(
            "request.approval-given", actor=actor, request=request.uuid,
            data={"given": given, "needed": 2},
        )  # fmt: skip
        return False
    return True
