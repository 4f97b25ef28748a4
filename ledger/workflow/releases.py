"""What the provider publishes: circuit releases and global models."""

from __future__ import annotations

import math
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, get_args

from django.utils import timezone
from django.utils.translation import gettext as _

from ledger import blobs, log
from ledger.models import CircuitRelease, DeletionRequest, GlobalModel, Window
from ledger.statements import predicates
from ledger.statements.predicates.circuit_release import ROLES
from ledger.workflow import events
from ledger.workflow.actors import SYSTEM, Actor
from ledger.workflow.errors import WorkflowError
from ledger.workflow.fulfilment import fulfil
from ledger.workflow.step import exclusive, expect_reason, get_or_refuse, log_own

RETIREMENTS: Final[tuple[str, ...]] = get_args(predicates.ModelRetirement.model_fields["reason"].annotation)


@exclusive
def register_circuit(predicate: predicates.CircuitRelease, paths: Mapping[str, Path]) -> CircuitRelease:
    """Store the seven files of a circuit release (by role, see ROLES) and log the release.

    Raises WorkflowError (422) if roles are missing or unknown, or a file is not the one the predicate names.
    """
    if set(paths) != set(ROLES):
        raise WorkflowError(
            "wrong-roles",
            _("got files for %(paths)s, expected exactly the roles %(roles)s")
            % {"paths": sorted(paths), "roles": sorted(ROLES)},
            422,
        )
    digests = predicate.file_digests()
    for role, path in paths.items():
        _expect_digest(path, digests[role], role)
    entry = log_own(predicate)
    release, _made = CircuitRelease.objects.get_or_create(
        entry=entry,
        defaults={
            "parameters": predicate.parameters.model_dump(mode="json", by_alias=True),
            "blobs": digests,
            "srs_provenance": predicate.srs.provenance,
        },
    )
    return release


@exclusive
def register_model(
    predicate: predicates.ModelRelease, path: Path, dataset: str, mask_config: Mapping[str, Any]
) -> GlobalModel:
    """Store a global model's file and log its release. `dataset` and `mask_config` serve its mask jobs.

    A release may supersede another one; that stays in use, with windows of its own, until it is retired. Raises
    WorkflowError (422) if the file is not the one that the predicate names, or what it supersedes is not in use.
    """
    _expect_digest(path, predicate.file_sha256, "the model file")
    before = _superseded(predicate)
    entry = log_own(predicate.model_copy(update={"dataset": dataset}))
    model, _made = GlobalModel.objects.get_or_create(
        entry=entry,
        defaults={
            "name": predicate.name,
            "file_sha256": predicate.file_sha256,
            "architecture": predicate.architecture,
            "total_weights": sum(math.prod(target.shape) for target in predicate.targets),
            "dataset": dataset,
            "mask_config": dict(mask_config),
            "supersedes": before,
        },
    )
    return model


@exclusive
def retire_model(model_id: uuid.UUID | str, reason: str, *, actor: Actor = SYSTEM) -> GlobalModel:
    """A global model is out of use: no more windows and commitments on it. Logged. Again: nothing happens.

    Requests that waited for this model only are fulfilled. Raises WorkflowError: unknown (404), unknown reason
    (422), a window that is not certified (409).
    """
    model = get_or_refuse(GlobalModel.objects.all(), "model", uuid=model_id)
    expect_reason(reason, RETIREMENTS)
    if model.retired_entry_id is not None:
        return model
    window = model.windows.exclude(state=Window.State.CERTIFIED).first()
    if window is not None:
        raise WorkflowError(
            "window-pending",
            (
                _("window %(uuid)s of this model is %(state)s: discard it first")
                if window.state == Window.State.OPEN
                else _("window %(uuid)s of this model is %(state)s: certify it first")
            )
            % {"uuid": window.uuid, "state": _(window.state)},
        )
    said = predicates.ModelRetirement.model_validate(
        {"model": log.entry_ref(model.entry), "reason": reason, "retired_at": timezone.now()}
    )
    model.retired_entry, model.retired_reason = log_own(said), reason
    model.save()
    events.record(
        "model.retired", actor=actor, model=model.uuid, entry=model.retired_entry, data={"reason": reason}
    )
    waiting = DeletionRequest.objects.filter(state=DeletionRequest.State.IN_PROGRESS)
    fulfil(list(waiting.filter(dataset=model.dataset).select_related("decision_entry").order_by("filed_entry")))
    return model


def _superseded(predicate: predicates.ModelRelease) -> GlobalModel | None:
    if predicate.supersedes is None:
        return None
    before = GlobalModel.objects.filter(entry=log.resolve(predicate.supersedes), retired_entry=None).first()
    if before is None:
        raise WorkflowError(
            "wrong-reference",
            _("log entry %(index)s is no model release in use") % {"index": predicate.supersedes.index},
            422,
        )
    return before


def _expect_digest(path: Path, expected: str, what: str) -> None:
    try:
        got = blobs.put_file(path).sha256
    except blobs.BlobError as error:
        raise WorkflowError("unreadable-file", str(error), 422) from error
    if got != expected:
        raise WorkflowError(
            "wrong-digest",
            _("%(what)s has SHA-256 %(got)s, but the release names %(expected)s")
            % {"what": what, "got": got, "expected": expected},
            422,
        )
