"""What the provider publishes: circuit releases and global models."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ledger import blobs
from ledger.models import CircuitRelease, GlobalModel
from ledger.statements import predicates
from ledger.statements.predicates.circuit_release import ROLES
from ledger.workflow.errors import WorkflowError
from ledger.workflow.step import exclusive, log_own


@exclusive
def register_circuit(predicate: predicates.CircuitRelease, paths: Mapping[str, Path]) -> CircuitRelease:
    """Store the seven files of a circuit release (by role, see ROLES) and log the release.

    Raises WorkflowError (422) if roles are missing or unknown, or a file is not the one the predicate names.
    """
    if set(paths) != set(ROLES):
        raise WorkflowError(
            "wrong-roles", f"got files for {sorted(paths)}, expected exactly the roles {sorted(ROLES)}", 422
        )
    digests = predicate.file_digests()
    for role, path in paths.items():
        _expect_digest(path, digests[role], role)
    entry = log_own(predicate)
    release, _ = CircuitRelease.objects.get_or_create(
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

    Raises WorkflowError (422) if the file is not the one that the predicate names.
    """
    _expect_digest(path, predicate.file_sha256, "the model file")
    entry = log_own(predicate)
    model, _ = GlobalModel.objects.get_or_create(
        entry=entry,
        defaults={
            "name": predicate.name,
            "file_sha256": predicate.file_sha256,
            "architecture": predicate.architecture,
            "total_weights": sum(math.prod(target.shape) for target in predicate.targets),
            "dataset": dataset,
            "mask_config": dict(mask_config),
        },
    )
    return model


def _expect_digest(path: Path, expected: str, what: str) -> None:
    try:
        got = blobs.put_file(path).sha256
    except blobs.BlobError as error:
        raise WorkflowError("unreadable-file", str(error), 422) from error
    if got != expected:
        raise WorkflowError("wrong-digest", f"{what} has SHA-256 {got}, but the release names {expected}", 422)
