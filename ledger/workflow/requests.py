"""Deletion requests: filed, then approved or denied. The log learns a salted commitment, never who asked."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from django.utils import timezone
from django.utils.translation import gettext as _

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
        raise WorkflowError(
            "bad-decision",
            _("a decision is 'approved' or 'denied', got %(decision)s") % {"decision": f"{decision!r:.80}"},
            422,
        )
    approved = decision == "approved"
    if reason or not approved:  # a denial needs one
        expect_code("approval" if approved else "denial", reason)
    if request.state != DeletionRequest.State.OPEN:
        raise WorkflowError(
            "already-decided",
            _("request %(uuid)s is %(state)s, only open ones are decided")
            % {"uuid": request.uuid, "state": _(request.state)},
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
        allowed = ", ".join(sorted(lifecycle.TRANSITIONS[request.state])) or _("nothing: it is over")
        raise WorkflowError(
            "wrong-state",
            _("request %(uuid)s is %(state)s and cannot become %(state2)s, only %(allowed)s")
            % {"uuid": request.uuid, "state": _(request.state), "state2": _(state), "allowed": allowed},
        )
    request.state = state


def expect_code(register: str, code: str) -> None:
    """Refuse (422) a reason that is not in its register: words about a person must not reach the log."""
    codes = lifecycle.REASONS[register]
    if code not in codes:
        raise WorkflowError(
            "bad-reason",
            _("a reason for %(register)s is one of %(codes)s; got %(code)s")
            % {"register": register, "codes": ", ".join(codes), "code": f"{code!r:.80}"},
            422,
        )


def approvals_needed(request: DeletionRequest) -> int:
    """How many officers must approve."""
    return 2 if policy_of(request).four_eyes else 1


def _expect_approvable(request: DeletionRequest, policy: Policy) -> None:
    if request.held:
        raise WorkflowError(
            "held", _("request %(uuid)s is under a legal hold: lift that first") % {"uuid": request.uuid}
        )
    if policy.identity_required and not request.verified:
        raise WorkflowError(
            "identity-not-verified",
            _("nobody was identified for request %(uuid)s: record an identity check first, or deny it")
            % {"uuid": request.uuid},
        )


def _approve(request: DeletionRequest, policy: Policy, actor: Actor) -> bool:
    """Record an officer's yes; whether it is the last one needed."""
    officer = f"{actor.kind}:{actor.id}"
    if policy.four_eyes and actor.kind != "officer":
        raise WorkflowError(
            "needs-officers", _("this approval needs two officers; it cannot be given in a batch"), 403
        )
    if policy.exclude_filer and officer == request.filed_by:
        raise WorkflowError(
            "own-request",
            _("who filed request %(uuid)s does not approve it: ask another officer") % {"uuid": request.uuid},
            403,
        )
    if Approval.objects.filter(request=request, officer=officer).exists():
        raise WorkflowError(
            "already-approved",
            _("you have approved request %(uuid)s before: another officer must approve it")
            % {"uuid": request.uuid},
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
