"""Erasure: what is known about who asked is destroyed; a tombstone says so, and every proof still holds."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Final, get_args

from django.utils import timezone
from django.utils.translation import gettext as _

from ledger import log, pseudonyms, vault
from ledger.kms import LocalKeys, key_manager
from ledger.models import DeletionRequest
from ledger.statements import lifecycle
from ledger.statements.deadlines import add_months
from ledger.statements.predicates import Tombstone
from ledger.workflow.actors import SYSTEM, Actor
from ledger.workflow.errors import WorkflowError
from ledger.workflow.events import record
from ledger.workflow.exports import drop_files_with_persons
from ledger.workflow.references import sealed_records
from ledger.workflow.step import exclusive, expect_reason, get_or_refuse, log_own

REASONS: Final[tuple[str, ...]] = get_args(Tombstone.model_fields["reason"].annotation)
_CCPA_MONTHS: Final = 24  # CCPA regulations §7101: records of requests are kept for 24 months


@exclusive
def erase(request_id: uuid.UUID | str, reason: str, *, actor: Actor = SYSTEM) -> DeletionRequest:
    """Destroy the subject of a request that is over: data key, ciphertext, salt. Logs a tombstone.

    With it go the samples that were frozen, details of identity checks, keyed hashes, callback addresses, links to
    other requests of the same person, and the files of all reports that name persons. What stays is what the log
    says: that a request was filed, when, and what came of it. Again for the same request: nothing happens. Under
    the CCPA a subject is kept for 24 months unless it asks itself, an authority orders it, or the request was filed
    by mistake. Raises WorkflowError: unknown (404), reason unknown (422), still needed, or under a legal hold
    (409).
    """
    request = get_or_refuse(DeletionRequest.objects.select_related("subject"), "deletion request", uuid=request_id)
    expect_reason(reason, REASONS)
    if request.erased_entry is not None:
        return request
    _expect_over(request, reason)
    request.erased_entry = log_own(
        Tombstone(
            request=str(request.uuid),
            filed=log.entry_ref(request.filed_entry),
            reason=reason,
            erased_at=timezone.now(),
        )
    )
    request.subject_key = request.content_key = ""
    request.status_callback_urls = []
    request.duplicate_of = None
    request.duplicates.update(duplicate_of=None)
    request.save()
    for row in (request.subject, *sealed_records(request)):
        vault.erase(row)
    drop_files_with_persons()
    record("request.erased", actor=actor, request=request.uuid, entry=request.erased_entry, data={"reason": reason})
    return request


def rotate_master_key(report: Callable[[int, int], None]) -> int:
    """Wrap every record's key under a new master key and destroy the old one; returns how many were wrapped.

    Can be interrupted and called again at any point. With a KMS, or a key from the environment, the new master
    key must be in place already: then only the records are wrapped anew.
    """
    manager = key_manager()
    if isinstance(manager, LocalKeys):
        _start(manager)
    _renew_pseudonyms()
    done = vault.rewrap(report)
    while isinstance(manager, LocalKeys) and (more := _end(manager)):
        done += more
    return done


@exclusive
def _start(manager: LocalKeys) -> None:
    # Records are sealed under the log's lock: none is on its way under the old key when the new one takes over.
    manager.start_rotation()


@exclusive
def _renew_pseudonyms() -> None:
    """Old copies of the database must not say who asked, so keyed hashes do not outlive a master key either."""
    hashes = pseudonyms.renew()
    if hashes is None:
        return
    rows = DeletionRequest.objects.filter(erased_entry=None).select_related("subject")
    for row in rows.iterator(500):
        sealed = vault.unseal(row.subject)
        row.subject_key = hashes.of_subject(sealed["subject"])
        row.content_key = hashes.of_content({name: sealed[name] for name in ("regulation", "subject", "forget")})
        row.save(update_fields=["subject_key", "content_key"])


@exclusive
def _end(manager: LocalKeys) -> int:
    """Destroy the old key if nothing needs it. It must not go before what was wrapped just now is committed."""
    done = vault.rewrap(lambda _done, _total: None)
    if done == 0:
        manager.end_rotation()
    return done


def _expect_over(request: DeletionRequest, reason: str) -> None:
    # Open and approved requests still need their subject: to answer it, and to find its data.
    if request.state not in lifecycle.OVER:
        raise WorkflowError(
            "still-needed",
            _("request %(uuid)s is %(state)s: who asked is needed until it is over")
            % {"uuid": request.uuid, "state": _(request.state)},
        )
    if request.held:
        raise WorkflowError(
            "held",
            _("request %(uuid)s is under a legal hold: its record stays until that ends") % {"uuid": request.uuid},
        )
    until = add_months(request.received_at, _CCPA_MONTHS)
    if request.regulation == "ccpa" and reason == "retention-ended" and timezone.now() < until:
        raise WorkflowError(
            "still-retained",
            _("the CCPA asks to keep request %(uuid)s until %(until)s: its retention has not ended")
            % {"uuid": request.uuid, "until": f"{until:%Y-%m-%d}"},
        )
