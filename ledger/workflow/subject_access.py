"""Looking at who asked: the look is logged first, then the record is opened.

The log names nobody. The row beside it opens its commitment, so neither can be changed afterwards; fsck
finds a row that is missing.
"""

from __future__ import annotations

import hashlib
import os
from typing import Any, Final

from django.utils import timezone
from django.utils.translation import gettext as _

from ledger import log, vault
from ledger.models import DeletionRequest, SubjectAccess
from ledger.statements import canonical, predicates
from ledger.workflow.actors import Actor
from ledger.workflow.errors import WorkflowError
from ledger.workflow.events import record
from ledger.workflow.requests import Id, expect_code
from ledger.workflow.step import exclusive, get_or_refuse, log_own

_SALT_BYTES: Final = 32


def commitment(salt: bytes, viewer_id: str, name: str) -> str:
    """What the log holds of who looked: hex."""
    return hashlib.sha256(salt + canonical.dumps({"id": viewer_id, "name": name})).hexdigest()


@exclusive
def reveal_subject(request_id: Id, reason: str, *, actor: Actor) -> str:
    """Who made the request, once it is logged that `actor` looked; `reason` is a code of `lifecycle.ACCESS`.

    Raises WorkflowError: unknown (404), erased (409), bad reason (422); nothing is shown or logged then.
    """
    request = get_or_refuse(DeletionRequest.objects.select_related("subject"), "deletion request", uuid=request_id)
    expect_code("access", reason)
    if request.erased_entry_id is not None:
        raise WorkflowError(
            "erased",
            _("nobody can tell any more who made request %(uuid)s: it was erased") % {"uuid": request.uuid},
        )
    said: dict[str, Any] = vault.unseal(request.subject)
    salt, viewer = os.urandom(_SALT_BYTES), f"{actor.kind}:{actor.id}"
    logged = predicates.SubjectAccess(
        request=str(request.uuid), filed=log.entry_ref(request.filed_entry),
        number=SubjectAccess.objects.filter(request=request).count() + 1,
        viewer=commitment(salt, viewer, actor.name), reason=reason, at=timezone.now(),
    )  # fmt: skip
    entry = log_own(logged)
    SubjectAccess.objects.create(
        request=request, entry=entry, reason=reason, viewer=logged.viewer, salt=salt.hex(), viewer_id=viewer,
        viewer_name=actor.name,
    )  # fmt: skip
    record("request.subject-shown", actor=actor, request=request.uuid, entry=entry, data={"reason": reason})
    return str(said["subject"])
