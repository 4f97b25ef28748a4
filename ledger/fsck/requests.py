"""What the tables about deletion requests must hold, and what must be gone from them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from functools import singledispatch
from typing import Any
from uuid import UUID

from django.db import models

from ledger import models as m
from ledger.fsck.errors import FsckError
from ledger.statements import predicates as said
from ledger.statements.deadlines import acknowledge_by, due_at, extended_due_at, terms_by_law
from ledger.statements.predicates import Predicate
from ledger.workflow.subject_access import commitment

Row = dict[str, Any]
Rows = Mapping[type[models.Model], dict[Hashable, Row]]
Step = (
    said.RequestDecision | said.Tombstone | said.RequestAcknowledgement | said.IdentityCheck | said.RequestExtension
    | said.RequestHold | said.RequestClosure | said.SubjectAccess
)  # fmt: skip


def check_erased() -> None:
    """Sealed records are gone exactly where a tombstone says so. Raises FsckError."""
    requests = m.DeletionRequest.objects
    for request in requests.exclude(erased_entry=None).filter(subject__erased_at=None):
        raise FsckError(f"request {request.uuid} has a tombstone, but its sealed record is still there")
    for request in requests.filter(erased_entry=None).exclude(subject__erased_at=None):
        raise FsckError(f"the sealed record of request {request.uuid} was erased, but no tombstone says so")
    left = (
        models.Q(frozen__isnull=False, frozen__erased_at=None)
        | models.Q(identity_checks__detail__isnull=False, identity_checks__detail__erased_at=None)
        | models.Q(duplicates__isnull=False)
        | ~models.Q(subject_key="", content_key="", status_callback_urls=[], duplicate_of=None)
    )
    for request in requests.exclude(erased_entry=None).filter(left):
        raise FsckError(f"request {request.uuid} has a tombstone, but details, samples, hashes or links are left")


def check_viewers() -> None:
    """Each logged look at who asked is opened by its row, to whoever the row names. Raises FsckError."""
    for row in m.SubjectAccess.objects.iterator(500):
        if commitment(bytes.fromhex(row.salt), row.viewer_id, row.viewer_name) != row.viewer:
            raise FsckError(f"entry {row.entry_id} does not commit to {row.viewer_name!r}: the viewer was changed")


@singledispatch
def apply(predicate: Predicate, _rows: Rows, _index: int) -> None:
    """Let entry `index` change the rows that the statements so far make."""
    raise AssertionError(f"{predicate.slug} is not about a request")


@apply.register
def _(it: said.DeletionRequest, rows: Rows, index: int) -> None:
    terms = it.terms or terms_by_law(it.regulation)
    rows[m.DeletionRequest][UUID(it.request)] = {
        "regulation": it.regulation,
        "received_at": it.received_at,
        "due_at": due_at(it.received_at, terms),
        "acknowledge_by": None if it.terms is None else acknowledge_by(it.received_at, terms),
        "terms": None if it.terms is None else it.terms.model_dump(mode="json", by_alias=True),
        "filed_entry_id": index,
        "acknowledged_entry_id": None,
        "verified": False,
        "held": False,
        "extension_entry_id": None,
        "extension_reason": "",
        "notified_at": None,
        "decision_entry_id": None,
        "decision_reason": "",
        "reference": "",
        "closure_entry_id": None,
        "closure_reason": "",
        "state": m.DeletionRequest.State.OPEN,
        "fulfilled_entry_id": None,
        "erased_entry_id": None,
    }


@apply.register
def _(it: said.RequestDecision, rows: Rows, index: int) -> None:
    states = m.DeletionRequest.State
    rows[m.DeletionRequest][UUID(it.request)].update(
        decision_entry_id=index,
        decision_reason=it.reason,
        reference=it.reference or "",
        state=states.IN_PROGRESS if it.decision == "approved" else states.DENIED,
    )


@apply.register
def _(it: said.Tombstone, rows: Rows, index: int) -> None:
    rows[m.DeletionRequest][UUID(it.request)]["erased_entry_id"] = index


@apply.register
def _(it: said.RequestAcknowledgement, rows: Rows, index: int) -> None:
    rows[m.DeletionRequest][UUID(it.request)]["acknowledged_entry_id"] = index


@apply.register
def _(it: said.IdentityCheck, rows: Rows, index: int) -> None:
    rows[m.DeletionRequest][UUID(it.request)]["verified"] = it.result == "verified"
    rows[m.IdentityCheck][index] = {
        "request_id": UUID(it.request), "method": it.method, "result": it.result, "checked_at": it.checked_at,
    }  # fmt: skip


@apply.register
def _(it: said.RequestExtension, rows: Rows, index: int) -> None:
    row = rows[m.DeletionRequest][UUID(it.request)]
    terms = (
        terms_by_law(row["regulation"])
        if row["terms"] is None
        else said.Terms.model_validate(row["terms"], by_alias=True)
    )
    row.update(
        due_at=extended_due_at(row["received_at"], terms),
        extension_entry_id=index,
        extension_reason=it.reason,
        notified_at=it.notified_at,
    )


@apply.register
def _(it: said.RequestHold, rows: Rows, index: int) -> None:
    request = UUID(it.request)
    rows[m.DeletionRequest][request]["held"] = it.action == "set"
    if it.action == "set":
        rows[m.LegalHold][index] = {
            "request_id": request, "reason": it.reason, "lifted_entry_id": None, "lift_reason": "",
        }  # fmt: skip
        return
    for row in rows[m.LegalHold].values():
        if row["request_id"] == request and row["lifted_entry_id"] is None:
            row.update(lifted_entry_id=index, lift_reason=it.reason)


@apply.register
def _(it: said.RequestClosure, rows: Rows, index: int) -> None:
    rows[m.DeletionRequest][UUID(it.request)].update(
        closure_entry_id=index, closure_reason=it.reason, state=it.state
    )


@apply.register
def _(it: said.SubjectAccess, rows: Rows, index: int) -> None:
    rows[m.SubjectAccess][index] = {"request_id": UUID(it.request), "reason": it.reason, "viewer": it.viewer}
