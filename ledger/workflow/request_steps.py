"""What happens to a request besides its decision: receipt confirmed, identity, extension, holds, the end."""

from __future__ import annotations

import logging
import uuid
from datetime import datetime

from django.utils import timezone
from django.utils.translation import gettext as _

from ledger import log, vault
from ledger.models import DeletionRequest, IdentityCheck, LegalHold, LogEntry, Window
from ledger.statements import lifecycle, predicates
from ledger.statements.deadlines import due_at, extended_due_at
from ledger.workflow.actors import SYSTEM, Actor
from ledger.workflow.errors import WorkflowError
from ledger.workflow.events import record
from ledger.workflow.requests import Id, expect_code, move
from ledger.workflow.step import exclusive, get_or_refuse, log_own
from ledger.workflow.terms import terms_of

logger = logging.getLogger(__name__)

MAX_DETAIL = 4_000


@exclusive
def acknowledge(request_id: Id, *, actor: Actor = SYSTEM) -> DeletionRequest:
    """Record that the person was told that the request has arrived. Logged.

    Raises WorkflowError: unknown (404), over or acknowledged before (409).
    """
    request = _live(request_id)
    if request.acknowledged_entry is not None:
        raise WorkflowError(
            "already-acknowledged",
            _("the receipt of request %(uuid)s was confirmed before") % {"uuid": request.uuid},
        )
    request.acknowledged_entry = log_own(
        predicates.RequestAcknowledgement(
            request=str(request.uuid), filed=log.entry_ref(request.filed_entry), acknowledged_at=timezone.now()
        )
    )
    request.save()
    late = request.acknowledge_by is not None and request.acknowledge_by < timezone.now()
    record(
        "request.acknowledged", actor=actor, request=request.uuid, entry=request.acknowledged_entry,
        data={"late": late},
    )  # fmt: skip
    return request


@exclusive
def record_identity(
    request_id: Id, method: str, result: str, detail: str = "", *, actor: Actor = SYSTEM
) -> DeletionRequest:
    """Record how it was checked who asks, and what came of it; the last check counts. Logged without `detail`.

    `method` is a code of `lifecycle.METHODS`. `detail` may be personal: it is sealed, and goes with the subject.
    Raises WorkflowError: unknown (404), not open (409), unknown method or result, detail too long (422).
    """
    request = get_or_refuse(DeletionRequest.objects.all(), "deletion request", uuid=request_id)
    _expect_checkable(request, method, result, detail)
    now = timezone.now().replace(microsecond=0)
    entry = log_own(
        predicates.IdentityCheck(
            request=str(request.uuid),
            filed=log.entry_ref(request.filed_entry),
            number=request.identity_checks.count() + 1,
            method=method,
            result=result,
            checked_at=now,
        )
    )
    IdentityCheck.objects.create(
        request=request,
        method=method,
        result=result,
        checked_at=now,
        detail=vault.seal({"detail": detail}) if detail else None,
        entry=entry,
    )
    request.verified = result == IdentityCheck.Result.VERIFIED
    request.save()
    record(
        "request.identity-checked", actor=actor, request=request.uuid, entry=entry,
        data={"method": method, "result": result},
    )  # fmt: skip
    return request


def _expect_checkable(request: DeletionRequest, method: str, result: str, detail: str) -> None:
    if method not in lifecycle.METHODS:
        known = ", ".join(lifecycle.METHODS)
        raise WorkflowError(
            "bad-method",
            _("a method is one of %(known)s; got %(method)s") % {"known": known, "method": f"{method!r:.80}"},
            422,
        )
    if result not in IdentityCheck.Result.values:
        raise WorkflowError(
            "bad-result",
            _("a result is 'verified' or 'failed', got %(result)s") % {"result": f"{result!r:.80}"},
            422,
        )
    if len(detail) > MAX_DETAIL:
        raise WorkflowError(
            "bad-detail",
            _("a detail has at most %(max_detail)s characters, got %(detail)s")
            % {"max_detail": MAX_DETAIL, "detail": len(detail)},
            422,
        )
    if request.state != DeletionRequest.State.OPEN:
        raise WorkflowError(
            "not-open",
            _("request %(uuid)s is %(state)s: identities are checked while it is open")
            % {"uuid": request.uuid, "state": _(request.state)},
        )


@exclusive
def extend(
    request_id: Id, reason: str, notified_at: datetime | None = None, *, actor: Actor = SYSTEM
) -> DeletionRequest:
    """Give a request the additional time that its regulation allows; `reason` is a code of `lifecycle.EXTENSION`.

    `notified_at` is when the person was told, with the reasons. Logged, with the new due date, which follows from
    the terms that were logged with the request. Raises WorkflowError: unknown (404); over, extended before, first
    period over, no extension under this regulation (409); bad reason, no or a bad notice (422).
    """
    request = _live(request_id)
    expect_code("extension", reason)
    terms, now = terms_of(request), timezone.now().replace(microsecond=0)
    first = due_at(request.received_at, terms)
    _expect_extendable(request, terms, first, now)
    if notified_at is not None:
        notified_at = _notice(request, notified_at)
    elif terms.notice == "in-first-period":
        raise WorkflowError(
            "no-notice",
            _("tell the person before %(first)s, with the reasons, and give notifiedAt")
            % {"first": f"{first:%Y-%m-%d}"},
            422,
        )
    request.due_at = extended_due_at(request.received_at, terms)
    request.extension_reason, request.notified_at = reason, notified_at
    request.extension_entry = log_own(
        predicates.RequestExtension(
            request=str(request.uuid),
            filed=log.entry_ref(request.filed_entry),
            reason=reason,
            notified_at=notified_at,
            extended_at=now,
            due_at=request.due_at,
        )
    )
    request.save()
    record(
        "request.extended", actor=actor, request=request.uuid, entry=request.extension_entry,
        data={"reason": reason, "dueAt": f"{request.due_at:%Y-%m-%dT%H:%M:%SZ}"},
    )  # fmt: skip
    return request


def _expect_extendable(request: DeletionRequest, terms: predicates.Terms, first: datetime, now: datetime) -> None:
    if request.extension_entry is not None:
        raise WorkflowError(
            "already-extended",
            _("request %(uuid)s was extended before: that is done once") % {"uuid": request.uuid},
        )
    if not terms.extendable:
        raise WorkflowError(
            "no-extension",
            _("%(regulation)s knows no extension here") % {"regulation": request.get_regulation_display()},
        )
    if now > first:
        raise WorkflowError(
            "too-late",
            _("request %(uuid)s was due at %(first)s: extend it before that")
            % {"uuid": request.uuid, "first": f"{first:%Y-%m-%dT%H:%M:%SZ}"},
        )


@exclusive
def set_hold(request_id: Id, reason: str, *, actor: Actor = SYSTEM) -> DeletionRequest:
    """Put a request under a legal hold; `reason` is a code of `lifecycle.HOLD`. Logged.

    A held request is not approved, does not go into a window that closes, and its record is not erased. A window
    that has closed goes on: clients have their orders. Raises WorkflowError: unknown (404), held or erased (409),
    bad reason (422).
    """
    request = get_or_refuse(DeletionRequest.objects.all(), "deletion request", uuid=request_id)
    expect_code("hold", reason)
    if request.erased_entry is not None:
        raise WorkflowError(
            "erased", _("nothing is left of request %(uuid)s that could be held") % {"uuid": request.uuid}
        )
    if request.held:
        raise WorkflowError(
            "already-held", _("request %(uuid)s is under a legal hold already") % {"uuid": request.uuid}
        )
    entry = _log_hold(request, "set", reason)
    LegalHold.objects.create(request=request, reason=reason, set_entry=entry)
    request.held = True
    request.save()
    record("request.held", actor=actor, request=request.uuid, entry=entry, data={"reason": reason})
    return request


@exclusive
def lift_hold(request_id: Id, reason: str, *, actor: Actor = SYSTEM) -> DeletionRequest:
    """End a legal hold; `reason` is a code of `lifecycle.LIFT`. Logged.

    Raises WorkflowError: unknown (404), not held (409), bad reason (422).
    """
    request = get_or_refuse(DeletionRequest.objects.all(), "deletion request", uuid=request_id)
    expect_code("lift", reason)
    if not request.held:
        raise WorkflowError("not-held", _("request %(uuid)s is under no legal hold") % {"uuid": request.uuid})
    entry = _log_hold(request, "lifted", reason)
    request.holds.filter(lifted_entry=None).update(lifted_entry=entry, lift_reason=reason)
    request.held = False
    request.save()
    record("request.hold-lifted", actor=actor, request=request.uuid, entry=entry, data={"reason": reason})
    return request


@exclusive
def revoke(request_id: Id, reason: str = "subject-withdrew", *, actor: Actor = SYSTEM) -> DeletionRequest:
    """The person withdraws a request; `reason` is a code of `lifecycle.REVOCATION`. Logged.

    Possible until its window closes; an open window loses it. Raises WorkflowError: unknown (404), over, or its
    window has closed (409), bad reason (422).
    """
    request = _live(request_id)
    expect_code("revocation", reason)
    window = request.windows.exclude(state=Window.State.OPEN).first()
    if window is not None:
        raise WorkflowError(
            "window-closed",
            _(
                "window %(uuid)s has closed with request %(uuid2)s in it: clients are being told to "
                "unlearn, and that cannot be called back"
            )
            % {"uuid": window.uuid, "uuid2": request.uuid},
        )
    request.windows.clear()
    return _close(request, DeletionRequest.State.REVOKED, reason, actor)


def expire_unverified() -> int:
    """End every open request for which nobody was identified in the time that its policy gave; returns how many.

    Held requests wait. Safe to run anywhere, any number of times.
    """
    waiting = DeletionRequest.objects.filter(state=DeletionRequest.State.OPEN, verified=False, held=False)
    return sum(map(_expire, waiting.filter(expires_at__lt=timezone.now()).values_list("uuid", flat=True)))


@exclusive
def _expire(request_id: uuid.UUID) -> int:
    request = DeletionRequest.objects.get(uuid=request_id)  # again, now that nobody else can change it
    if request.state != DeletionRequest.State.OPEN or request.verified or request.held:
        return 0
    _close(request, DeletionRequest.State.EXPIRED, "identity-not-verified", SYSTEM)
    logger.info("request %s expired: nobody was identified in time", request_id)
    return 1


def _close(request: DeletionRequest, state: str, reason: str, actor: Actor) -> DeletionRequest:
    move(request, state)
    request.closure_reason = reason
    request.closure_entry = log_own(
        predicates.RequestClosure(
            request=str(request.uuid),
            filed=log.entry_ref(request.filed_entry),
            state=state,
            reason=reason,
            closed_at=timezone.now(),
        )
    )
    request.save()
    record(
        f"request.{state}", actor=actor, request=request.uuid, entry=request.closure_entry, data={"reason": reason}
    )
    return request


def _live(request_id: Id) -> DeletionRequest:
    request = get_or_refuse(DeletionRequest.objects.all(), "deletion request", uuid=request_id)
    if request.state not in lifecycle.LIVE:
        raise WorkflowError(
            "over",
            _("request %(uuid)s is %(state)s: nothing more happens to it")
            % {"uuid": request.uuid, "state": _(request.state)},
        )
    return request


def _log_hold(request: DeletionRequest, action: str, reason: str) -> LogEntry:
    return log_own(
        predicates.RequestHold(
            request=str(request.uuid),
            filed=log.entry_ref(request.filed_entry),
            number=2 * request.holds.count() + (1 if action == "set" else 0),
            action=action,
            reason=reason,
            at=timezone.now(),
        )
    )


def _notice(request: DeletionRequest, notified_at: datetime) -> datetime:
    notified_at = notified_at.replace(microsecond=0)
    if timezone.is_naive(notified_at) or not request.received_at <= notified_at <= timezone.now():
        raise WorkflowError(
            "bad-notice",
            _("notifiedAt needs a zone and lies between the receipt, %(received_at)s, and now, got %(notified_at)s")
            % {"received_at": f"{request.received_at:%Y-%m-%dT%H:%M:%SZ}", "notified_at": notified_at},
            422,
        )
    return notified_at
