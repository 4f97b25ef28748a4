"""Deletion requests: filed, then approved or denied. The log learns a salted commitment, never who asked."""

from __future__ import annotations

import hashlib
import os
import re
import uuid
from datetime import datetime
from typing import Any, Literal

from django.utils import timezone

from ledger import log, vault
from ledger.models import DeletionRequest
from ledger.statements import canonical, predicates
from ledger.workflow.deadlines import due_at
from ledger.workflow.errors import WorkflowError
from ledger.workflow.step import exclusive, get_or_refuse, log_own

SALT_BYTES = 32
REASON = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*(?<!.{61})", re.ASCII)


@exclusive
def file_request(
    regulation: str, subject: str, forget: dict[str, Any], received_at: datetime | None = None
) -> DeletionRequest:
    """Record a request and log its commitment; the due date follows from the regulation.

    `subject` is the controller's reference to the person (sealed in the vault), `forget` says which training
    data: {"dataset": name, "class": label}. Raises WorkflowError (422) for values that cannot be.
    """
    received_at = (received_at or timezone.now()).replace(microsecond=0)
    _check(regulation, subject, forget, received_at)
    name, salt, due = uuid.uuid4(), os.urandom(SALT_BYTES), due_at(regulation, received_at)
    record = {"request": str(name), "subject": subject, "forget": forget, "regulation": regulation}
    commitment = hashlib.sha256(salt + canonical.dumps(record)).hexdigest()
    entry = log_own(
        predicates.DeletionRequest(
            request=str(name),
            commitment=commitment,
            regulation=regulation,
            received_at=received_at,
            due_at=due,
        )
    )
    return DeletionRequest.objects.create(
        uuid=name,
        regulation=regulation,
        received_at=received_at,
        due_at=due,
        forget=forget,
        # The salt is sealed as well: beside the log it would let a thief of the database try out names.
        subject=vault.seal(record | {"salt": salt.hex()}),
        filed_entry=entry,
    )


@exclusive
def decide_request(
    request_id: uuid.UUID | str, decision: Literal["approved", "denied"], reason: str = ""
) -> DeletionRequest:
    """Approve or deny an open request; `reason` is a code, never text about a person. Logged.

    Raises WorkflowError: unknown (404), decided before (409), bad decision or reason (422).
    """
    request = get_or_refuse(DeletionRequest.objects.all(), "deletion request", uuid=request_id)
    if decision not in ("approved", "denied"):
        raise WorkflowError("bad-decision", f"a decision is 'approved' or 'denied', got {decision!r}", 422)
    if reason and not REASON.fullmatch(reason):
        # It goes into a log that nothing can be removed from, so no sentence about a person may fit in.
        raise WorkflowError(
            "bad-reason",
            f"a reason is a code of at most 60 lower-case letters, digits and hyphens, got {reason!r:.100}",
            422,
        )
    if request.state != DeletionRequest.State.OPEN:
        raise WorkflowError(
            "already-decided", f"request {request.uuid} is {request.state}, only open ones are decided"
        )
    request.decision_entry = log_own(
        predicates.RequestDecision(
            request=str(request.uuid),
            filed=log.entry_ref(request.filed_entry),
            decision=decision,
            reason=reason,
            decided_at=timezone.now(),
        )
    )
    approved = decision == "approved"
    request.state = DeletionRequest.State.IN_PROGRESS if approved else DeletionRequest.State.DENIED
    request.decision_reason = reason
    request.save()
    return request


def _check(regulation: str, subject: str, forget: dict[str, Any], received_at: datetime) -> None:
    if regulation not in DeletionRequest.Regulation.values:
        known = ", ".join(DeletionRequest.Regulation.values)
        raise WorkflowError("bad-regulation", f"got the regulation {regulation!r}, expected one of {known}", 422)
    if not 0 < len(subject) <= 1000:
        raise WorkflowError("bad-subject", f"a subject reference has 1 to 1000 characters, got {len(subject)}", 422)
    if timezone.is_naive(received_at) or received_at > timezone.now():
        raise WorkflowError("bad-time", f"receivedAt needs a zone and cannot lie ahead, got {received_at}", 422)
    if (
        not isinstance(forget, dict)
        or set(forget) != {"dataset", "class"}
        or not isinstance(forget["dataset"], str)
        or type(forget["class"]) is not int
        or forget["class"] < 0
    ):
        raise WorkflowError(
            "bad-forget", f'forget is {{"dataset": name, "class": number}}, got {forget!r:.200}', 422
        )
