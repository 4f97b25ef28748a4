"""What the derived tables must hold, replayed from the statements, and its comparison with what they do hold.

Rows are compared by what the log determines; names, jobs, files and what is in the vault are not in the log. Three
things exist before the log knows of them: an invited client without a key, an open window, an export on its way.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import singledispatch
from typing import Any, Final
from uuid import UUID

from django.db import models

from ledger import models as m
from ledger.fsck import requests, windows
from ledger.fsck.errors import FsckError
from ledger.statements import keys
from ledger.statements import predicates as said
from ledger.statements.predicates import Predicate
from ledger.statements.story import Story
from ledger.tlog.checkpoint import Checkpoint

Report = Callable[[str, int, int], None]
Row = dict[str, Any]

#: Each table's key, and what the log determines of a row, in Django's words for it.
_COLUMNS: Final[dict[type[models.Model], tuple[str, tuple[str, ...]]]] = {
    m.Client: ("uuid", ("enrolled_entry_id", "retired_entry_id")),
    m.ClientKey: ("keyid", ("client_id", "public_key", "enrolled_entry_id", "revoked_entry_id")),
    m.CircuitRelease: ("entry_id", ("parameters", "blobs", "srs_provenance")),
    m.GlobalModel: ("entry_id", (
        "name", "file_sha256", "architecture", "total_weights", "supersedes__entry_id", "retired_entry_id",
        "retired_reason",
    )),
    m.ClientModel: ("entry_id", (
        "client_id", "model__entry_id", "circuit__entry_id", "chunks", "weights_sha256", "curvature_sha256",
        "other_tensors_sha256", "state", "unlearned_by__entry_id", "continues__entry_id", "continuity",
    )),
    m.DeletionRequest: ("uuid", (
        "regulation", "received_at", "due_at", "acknowledge_by", "terms", "filed_entry_id", "acknowledged_entry_id",
        "verified", "held", "extension_entry_id", "extension_reason", "notified_at", "decision_entry_id",
        "decision_reason", "reference", "closure_entry_id", "closure_reason", "state", "fulfilled_entry_id",
        "erased_entry_id",
    )),
    m.IdentityCheck: ("entry_id", ("request_id", "method", "result", "checked_at")),
    m.LegalHold: ("set_entry_id", ("request_id", "reason", "lifted_entry_id", "lift_reason")),
    m.SubjectAccess: ("entry_id", ("request_id", "reason", "viewer")),
    m.Window: ("uuid", (
        "model__entry_id", "closed_entry_id", "policy", "mask_entry_id", "mask_sha256", "masked", "state",
    )),
    m.Order: ("uuid", (
        "entry_id", "window_id", "client_model__entry_id", "due_at", "coverage", "draw_sha256", "state", "attempt",
        "exception_entry_id", "exception_reason",
    )),
    m.Suspension: ("set_entry_id", ("client_id", "reason", "lifted_entry_id", "lift_reason")),
    m.Claim: ("entry_id", (
        "order_id", "attempt", "weights_sha256", "solution_sha256", "other_tensors_sha256",
    )),
    m.Challenge: ("entry_id", ("claim__entry_id", "checkpoint_id")),
    m.ProofSubmission: ("entry_id", ("claim__entry_id", "bundle_sha256")),
    m.VerdictRecord: ("entry_id", ("proof__entry_id", "accepted", "failures")),
    m.Continuation: ("client_model__entry_id", (
        "checkpoint_id", "challenge_entry_id", "bundle_sha256", "proof_entry_id", "verdict_entry_id", "failures",
    )),
    m.Objection: ("entry_id", ("order_id", "reason")),
    m.Certificate: ("entry_id", ("request_id", "window_id", "complete", "supplements__entry_id")),
    m.Export: ("uuid", (
        "entry_id", "scope", "about", "since", "until", "form", "personal_data", "reason", "sha256", "size",
    )),
}  # fmt: skip
_NOT_YET: Final[dict[type[models.Model], Row]] = {
    m.Client: {"enrolled_entry_id": None, "retired_entry_id": None},
    m.Window: {"closed_entry_id": None, "mask_entry_id": None, "mask_sha256": "", "masked": None, "state": "open"},
    m.Export: {"entry_id": None, "sha256": "", "size": None},
}


@dataclass
class Tables:
    """Rows by table and key, as the statements so far make them."""

    rows: defaultdict[type[models.Model], dict[Hashable, Row]] = field(default_factory=lambda: defaultdict(dict))
    current: dict[tuple[str, int], int] = field(default_factory=dict)  # commitment by client and model entry
    keys: dict[int, Row] = field(default_factory=dict)  # rows of clients' keys, by the entry that brought each

    def apply(self, index: int, predicate: Predicate, story: Story) -> None:
        """Let entry `index`, which may follow `story`, change the rows."""
        _apply(predicate, self, index, story)

    def compare(self, report: Report) -> int:
        """Compare with the database; returns how many rows were looked at. Raises FsckError."""
        total = sum(len(self.rows[model]) for model in _COLUMNS)
        done = 0
        for model in _COLUMNS:
            done += self._compare(model)
            report("rows", done, max(total, done))
        windows.check(self.rows)
        requests.check_erased()
        requests.check_viewers()
        return done

    def _compare(self, model: type[models.Model]) -> int:
        key, columns = _COLUMNS[model]
        name, expected = model._meta.verbose_name, dict(self.rows[model])  # noqa: SLF001 - Django's public name
        looked = 0
        for at, *values in model._default_manager.order_by(key).values_list(key, *columns).iterator(2_000):  # noqa: SLF001 - likewise
            got, looked = dict(zip(columns, values, strict=True)), looked + 1
            wanted = expected.pop(at, None)
            if wanted is None:
                blank = _NOT_YET.get(model)
                if blank is None or any(got[column] != value for column, value in blank.items()):
                    raise FsckError(f"the {name} {at} is stored, but nothing in the log calls for it")
                continue
            for column in columns:
                if got[column] != wanted[column]:
                    raise FsckError(
                        f"the {name} {at} has {column} {_show(got[column])}, "
                        f"the log makes it {_show(wanted[column])}"
                    )
        for at in expected:
            raise FsckError(f"the {name} {at} is missing: the log calls for it")
        return looked


def _show(value: Any) -> str:
    text = repr(str(value)) if isinstance(value, str) else str(value)  # a choice is a string too
    return text if len(text) <= 200 else f"{text[:197]}..."


@singledispatch
def _apply(_predicate: Predicate, _tables: Tables, _index: int, _story: Story) -> None:
    """Rotations of keys have no table."""


@_apply.register
def _(it: said.ClientEnrolment, tables: Tables, index: int, _story: Story) -> None:
    tables.rows[m.Client][UUID(it.client)] = {"enrolled_entry_id": index, "retired_entry_id": None}
    _bring_key(it, tables, index)


@_apply.register
def _(it: said.ClientKeyAddition, tables: Tables, index: int, _story: Story) -> None:
    _bring_key(it, tables, index)


@_apply.register
def _(it: said.ClientKeyRotation, tables: Tables, index: int, _story: Story) -> None:
    tables.keys[it.replaces.index]["revoked_entry_id"] = index
    _bring_key(it, tables, index)


@_apply.register
def _(it: said.ClientKeyRevocation, tables: Tables, index: int, _story: Story) -> None:
    tables.keys[it.enrolled.index]["revoked_entry_id"] = index


@_apply.register
def _(it: said.ClientRetirement, tables: Tables, index: int, _story: Story) -> None:
    client = UUID(it.client)
    tables.rows[m.Client].setdefault(client, {"enrolled_entry_id": None})["retired_entry_id"] = index
    for row in tables.rows[m.ClientKey].values():
        if row["client_id"] == client and row["revoked_entry_id"] is None:
            row["revoked_entry_id"] = index
    for row in tables.rows[m.ClientModel].values():
        if row["client_id"] == client and row["state"] == m.ClientModel.State.CURRENT:
            row["state"] = m.ClientModel.State.RETIRED


@_apply.register
def _(it: said.ClientModelRetirement, tables: Tables, _index: int, _story: Story) -> None:
    tables.rows[m.ClientModel][it.commitment.index]["state"] = m.ClientModel.State.RETIRED


def _bring_key(
    it: said.ClientEnrolment | said.ClientKeyAddition | said.ClientKeyRotation, tables: Tables, index: int
) -> None:
    row = {
        "client_id": UUID(it.client),
        "public_key": it.public_key,
        "enrolled_entry_id": index,
        "revoked_entry_id": None,
    }
    keyid = keys.keyid(keys.public_from_hex(it.public_key))
    tables.keys[index] = tables.rows[m.ClientKey][keyid] = row


@_apply.register
def _(it: said.CircuitRelease, tables: Tables, index: int, _story: Story) -> None:
    tables.rows[m.CircuitRelease][index] = {
        "parameters": it.parameters.model_dump(mode="json", by_alias=True),
        "blobs": it.file_digests(),
        "srs_provenance": it.srs.provenance,
    }


@_apply.register
def _(it: said.ModelRelease, tables: Tables, index: int, _story: Story) -> None:
    tables.rows[m.GlobalModel][index] = {
        "name": it.name,
        "file_sha256": it.file_sha256,
        "architecture": it.architecture,
        "total_weights": sum(math.prod(target.shape) for target in it.targets),
        "supersedes__entry_id": None if it.supersedes is None else it.supersedes.index,
        "retired_entry_id": None,
        "retired_reason": "",
        "dataset": it.dataset,
    }


@_apply.register
def _(it: said.ModelCommitment, tables: Tables, index: int, story: Story) -> None:
    before = tables.current.get((it.client, it.model.index))
    if before is not None:
        tables.rows[m.ClientModel][before]["state"] = m.ClientModel.State.SUPERSEDED
    tables.current[it.client, it.model.index] = index
    tables.rows[m.ClientModel][index] = {
        "client_id": UUID(it.client),
        "model__entry_id": it.model.index,
        "circuit__entry_id": it.circuit.index,
        "chunks": it.chunks,
        "weights_sha256": it.weights_sha256,
        "curvature_sha256": it.curvature_sha256,
        "other_tensors_sha256": it.other_tensors_sha256,
        "state": m.ClientModel.State.CURRENT,
        "unlearned_by__entry_id": None,
        "continues__entry_id": None if it.continues is None else it.continues.index,
        "continuity": _continuity(it, story, index),
    }


def _continuity(it: said.ModelCommitment, story: Story, index: int) -> str:
    """How a new commitment begins: whether there is something to show, and whether it says that it will."""
    states = m.ClientModel.Continuity
    if not story.lines.masks_before(it, index):
        return states.NOTHING_DUE
    return states.UNLINKED if it.continues is None else states.AWAITED


@_apply.register
def _(it: said.ContinuationChallenge, tables: Tables, index: int, _story: Story) -> None:
    tables.rows[m.Continuation][it.commitment.index] = {
        "checkpoint_id": _size(it.checkpoint),
        "challenge_entry_id": index,
        "bundle_sha256": "",
        "proof_entry_id": None,
        "verdict_entry_id": None,
        "failures": [],
    }


@_apply.register
def _(it: said.ContinuationProof, tables: Tables, index: int, _story: Story) -> None:
    tables.rows[m.Continuation][it.commitment.index].update(proof_entry_id=index, bundle_sha256=it.bundle_sha256)


@_apply.register
def _(it: said.ContinuationVerdict, tables: Tables, index: int, _story: Story) -> None:
    states = m.ClientModel.Continuity
    failures = [failure.model_dump(by_alias=True) for failure in it.failures]
    tables.rows[m.Continuation][it.commitment.index].update(verdict_entry_id=index, failures=failures)
    held = tables.rows[m.ClientModel][it.commitment.index]
    held["continuity"] = states.SHOWN if it.result == "accepted" else states.REFUTED


@_apply.register(said.DeletionRequest | requests.Step)
def _(it: Any, tables: Tables, index: int, _story: Story) -> None:
    requests.apply(it, tables.rows, index)


@_apply.register
def _(it: said.AuditReport, tables: Tables, index: int, _story: Story) -> None:
    tables.rows[m.Export][UUID(it.report)] = {
        "entry_id": index,
        "scope": it.scope,
        "about": None if it.about is None else UUID(it.about),
        "since": it.since,
        "until": it.until,
        "form": it.form,
        "personal_data": it.personal_data,
        "reason": it.reason or "",
        "sha256": it.sha256,
        "size": it.size,
    }


@_apply.register
def _(it: said.OrderObjection, tables: Tables, index: int, story: Story) -> None:
    order = story.get(it.order, said.Order, f"objection {index}")
    tables.rows[m.Objection][index] = {"order_id": UUID(order.order), "reason": it.reason}


@_apply.register(windows.Kinds)
def _(it: Any, tables: Tables, index: int, story: Story) -> None:
    windows.apply(it, tables.rows, index, story)


def _size(note: str) -> int:
    """The size of the checkpoint in a note that was checked before."""
    return Checkpoint.parse(note.rsplit("\n\n", 1)[0] + "\n").size
