"""Exports: audit reports as background jobs.

1. `request_export` writes the row and queues a job;
2. a worker makes the report (`ledger.reports`), and `keep_step` keeps each part that is done, sealed: should it
   die, the next one goes on from there;
3. `record_export` logs the digest and keeps the file, sealed, in one transaction: one file per export, ever. What
   was kept of it on the way is destroyed;
4. `link` signs an address that is good for minutes, `file_behind` opens it while its account may have it;
5. `drop_files` destroys files whose days are over, and parts that no job took up again. The log's entry stays.
"""

from __future__ import annotations

import base64
import hashlib
import uuid
import zlib
from datetime import datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core import signing
from django.utils import timezone
from django.utils.translation import gettext as _
from pydantic import TypeAdapter, ValidationError

from ledger import queue, vault
from ledger.models import Client, DeletionRequest, Export, ExportStep, Job, LogEntry, Window
from ledger.statements import predicates
from ledger.statements.predicates.base import Code
from ledger.workflow.actors import Actor
from ledger.workflow.errors import WorkflowError
from ledger.workflow.step import exclusive, get_or_refuse, log_own

_SALT: Final = "ledger.exports.link"
_CODE: Final[TypeAdapter[str]] = TypeAdapter(Code)
_TOMBSTONE: Final = predicates.Tombstone.type_uri()
#: Whose permission an export with personal data needs, beside that for exports.
REVEAL: Final = "ledger.reveal_deletionrequest"
VIEW: Final = "ledger.view_export"


class OvertakenError(RuntimeError):
    """The report may name somebody who was erased since its data were read."""


@exclusive
def request_export(
    scope: str,
    form: str,
    *,
    actor: Actor,
    about: uuid.UUID | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    reason: str = "",
) -> Export:
    """Ask for a report; with a `reason` (a code) persons are named in it: the caller has checked that they may be.

    Raises WorkflowError: nothing of that UUID (404), a scope without what it needs, a reason that is no code (422).
    """
    _check_scope(scope, about, since, until)
    if reason:
        _check_reason(reason)
    row = Export.objects.create(
        scope=scope,
        about=about,
        since=None if since is None else since.replace(microsecond=0),
        until=None if until is None else until.replace(microsecond=0),
        form=form,
        personal_data=bool(reason),
        reason=reason,
        actor_kind=actor.kind,
        actor_id=actor.id,
        actor_name=actor.name,
    )
    queue.enqueue(Job.Kind.EXPORT, row.uuid)
    return row


@exclusive
def record_export(export_id: uuid.UUID | str, data: bytes, covers: int) -> Export:
    """Log the digest of a report under a log of `covers` entries and keep its file. Again: nothing happens.

    Raises OvertakenError if it names persons and one was erased in the meantime.
    """
    row = get_or_refuse(Export.objects.select_for_update(of=("self",)), "export", uuid=export_id)
    if row.entry_id is not None:
        return row
    _expect_not_overtaken(row, covers)
    row.sha256, row.size = hashlib.sha256(data).hexdigest(), len(data)
    row.entry = log_own(
        predicates.AuditReport(
            report=str(row.uuid),
            scope=row.scope,
            about=None if row.about is None else str(row.about),
            since=row.since,
            until=row.until,
            form=row.form,
            sha256=row.sha256,
            size=row.size,
            covers=covers,
            personal_data=row.personal_data,
            reason=row.reason or None,
            made_at=timezone.now(),
        )
    )
    row.file = vault.seal({"file": base64.b64encode(data).decode()})
    row.expires_at = timezone.now() + timedelta(days=settings.LEDGER_EXPORT_DAYS)
    row.save()
    _drop_steps(row.steps.all())
    return row


@exclusive
def keep_step(export_id: uuid.UUID | str, name: str, data: bytes, covers: int) -> None:
    """Keep a part of a report that is done, made from a log of `covers` entries. Again: the first one stays.

    Raises OvertakenError as `record_export` does.
    """
    row = get_or_refuse(Export.objects.select_for_update(of=("self",)), "export", uuid=export_id)
    if row.entry_id is not None or row.steps.filter(name=name).exists():
        return
    _expect_not_overtaken(row, covers)
    packed = base64.b64encode(zlib.compress(data, 1)).decode()
    ExportStep.objects.create(export=row, name=name, file=vault.seal({"part": packed}), covers=covers)


def kept_step(export_id: uuid.UUID | str, name: str) -> bytes | None:
    """What was kept under this name; None if nothing was, or not any more."""
    step = ExportStep.objects.filter(export__uuid=export_id, name=name).select_related("file").first()
    if step is None:
        return None
    return zlib.decompress(base64.b64decode(vault.unseal(step.file)["part"]))


def _expect_not_overtaken(row: Export, covers: int) -> None:
    if row.personal_data and LogEntry.objects.filter(index__gte=covers, predicate_type=_TOMBSTONE).exists():
        raise OvertakenError(f"somebody was erased while report {row.uuid} was made: it is made again")


def link(row: Export, user: Any) -> str:
    """A token that opens the export's file for some minutes. Raises WorkflowError (403, 404, 409)."""
    _expect_allowed(row, user)
    _expect_file(row)
    return signing.dumps([str(row.uuid), str(user.pk)], salt=_SALT)


def file_behind(token: str) -> tuple[Export, bytes]:
    """The export and its file. Whoever made the link must still be allowed to have it.

    Raises WorkflowError: no link of ours, too old, the account may not (404, as if there was nothing); the file was
    destroyed (404).
    """
    nothing = WorkflowError(
        "not-found", _("this link does not open anything, or not any more: ask for a new one"), 404
    )
    try:
        name, account = signing.loads(token, salt=_SALT, max_age=settings.LEDGER_EXPORT_LINK_SECONDS)
    except signing.BadSignature as error:
        raise nothing from error
    user = get_user_model().objects.filter(pk=account, is_active=True, is_staff=True).first()
    row = Export.objects.select_related("file").filter(uuid=name).first()
    if row is None or user is None or not _may(row, user):
        raise nothing
    _expect_file(row)
    return row, read_file(row)


def read_file(row: Export) -> bytes:
    """The file of a finished export, unsealed. Raises VaultError if it was destroyed."""
    assert row.file is not None
    return base64.b64decode(vault.unseal(row.file)["file"])


def drop_files() -> int:
    """Destroy the files of exports whose time is over; returns how many. Safe anywhere, any number of times."""
    left = timezone.now() - timedelta(days=settings.LEDGER_EXPORT_DAYS)
    _drop_steps(ExportStep.objects.filter(file__created_at__lte=left))
    return _drop(Export.objects.filter(expires_at__lte=timezone.now()))


def drop_files_with_persons() -> int:
    """Destroy all files that name persons: somebody is erased, who may be in any of them."""
    _drop_steps(ExportStep.objects.filter(export__personal_data=True))
    return _drop(Export.objects.filter(personal_data=True))


def _drop(rows: Any) -> int:
    found = list(rows.filter(file__isnull=False, file__erased_at=None).select_related("file"))
    for row in found:
        vault.erase(row.file)
    return len(found)


def _drop_steps(rows: Any) -> None:
    for step in list(rows.select_related("file")):
        vault.erase(step.file)
        step.delete()


def _may(row: Export, user: Any) -> bool:
    return bool(user.has_perm(VIEW) and (not row.personal_data or user.has_perm(REVEAL)))


def _expect_allowed(row: Export, user: Any) -> None:
    if not _may(row, user):
        raise WorkflowError(
            "names-persons", _("this report names persons: it needs the permission to see who asked"), 403
        )


def _expect_file(row: Export) -> None:
    if row.entry_id is None or row.file is None:
        raise WorkflowError(
            "not-made", _("report %(uuid)s is not made yet: its job says how far it is") % {"uuid": row.uuid}
        )
    if row.file.erased_at is not None:
        raise WorkflowError(
            "file-destroyed",
            _("the file of report %(uuid)s was destroyed; ask for a new report") % {"uuid": row.uuid},
            404,
        )


def _check_scope(scope: str, about: uuid.UUID | None, since: datetime | None, until: datetime | None) -> None:
    if scope == Export.Scope.PERIOD:
        if about is not None or since is None or until is None or not since < until:
            raise WorkflowError("bad-scope", _("a period has `since` and a later `until`, and nothing else"), 422)
        return
    if about is None or since is not None or until is not None:
        raise WorkflowError(
            "bad-scope",
            _("a report on a %(scope)s has its UUID as `about`, and nothing else") % {"scope": scope},
            422,
        )
    if scope == Export.Scope.REQUEST:
        get_or_refuse(DeletionRequest.objects.all(), "request", uuid=about)
    elif scope == Export.Scope.WINDOW:
        get_or_refuse(Window.objects.all(), "window", uuid=about)
    else:
        get_or_refuse(Client.objects.all(), "client", uuid=about)


def _check_reason(reason: str) -> None:
    try:
        _CODE.validate_python(reason)
    except ValidationError as error:
        raise WorkflowError(
            "bad-reason",
            _("a reason is a code, as court-order, never text about a person; got %(reason)s")
            % {"reason": f"{reason!r:.100}"},
            422,
        ) from error
