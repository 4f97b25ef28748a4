"""Audit bundles: everything a stranger needs to check a window again, in one JSON document."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Iterator
from typing import Any, Final

from django.conf import settings
from django.db.models import Q, QuerySet

from ledger import blobs, keys, log, publication
from ledger.models import (
    Checkpoint,
    CircuitRelease,
    Client,
    ClientKey,
    ClientModel,
    LogEntry,
    Order,
    Suspension,
    Window,
)
from ledger.statements import predicates
from ledger.statements.predicates import KeyRotation
from ledger.statements.predicates.certificate import NotOrdered
from ledger.statements.predicates.circuit_release import VERIFIER_ROLES
from ledger.workflow.continuations import masks_before
from ledger.workflow.errors import WorkflowError
from ledger.workflow.step import exclusive, get_or_refuse

FORMAT: Final = "unlearning-audit-bundle/v1"


def audit_bundle(window_id: uuid.UUID | str) -> dict[str, Any]:
    """The window's story: its statements with inclusion proofs in one checkpoint, and the files they name.

    Keys: format, origin, logVkey, providerKey (hex), checkpoint (note), entries [{index, envelope, proof}],
    consistency [{size, proof}] from every challenge's checkpoint to `checkpoint`, blobs {sha256: base64}.
    Bytes are standard base64. Raises WorkflowError: unknown (404), not masked yet or not published yet (409).
    """
    publication.try_to_publish()  # before the log's lock is taken: witnesses take their time
    return _bundle(window_id)


@exclusive
def _bundle(window_id: uuid.UUID | str) -> dict[str, Any]:
    window = get_or_refuse(Window.objects.all(), "window", uuid=window_id)
    if window.mask_entry is None:
        raise WorkflowError("no-mask", f"window {window.uuid} is {window.state}: there is nothing to audit yet")
    orders = list(window.orders.select_related("client_model__client", "client_model__circuit").order_by("entry"))
    late = _late_commitments(window)
    held = [*(order.client_model for order in orders), *late]
    found = [*_entries(window, orders, late), *_key_entries(held)]
    entries = sorted({entry.index: entry for entry in found if entry}.values(), key=_index)
    head = _head_covering(entries[-1])
    sizes = {claim.challenge.checkpoint_id for claim in _challenged(orders)} | {
        one.continuation.checkpoint_id for one in held if hasattr(one, "continuation")
    }
    return {
        "format": FORMAT,
        "origin": settings.LEDGER_ORIGIN,
        "logVkey": keys.root_vkey(),
        "providerKey": keys.root_ring().provider,
        "checkpoint": head.note,
        "entries": [_with_proof(entry, head.size) for entry in entries],
        "consistency": [
            {"size": size, "proof": [_text(node) for node in log.consistency(size, head.size)]}
            for size in sorted(sizes)
        ],
        "blobs": {digest: _text(blobs.read(digest)) for digest in sorted(set(_digests(window, orders, held)))},
    }


def _head_covering(entry: LogEntry) -> Checkpoint:
    """The log's head; where witnesses have not cosigned that, their last one if it will do."""
    try:
        return log.publish_checkpoint()
    except log.NotCosignedError as error:
        head = log.latest_checkpoint()
        if head is None or head.size <= entry.index:
            sentence = f"{error}; the window's last entry is {entry.index}: try again later"
            raise WorkflowError("not-cosigned", sentence) from error
        return head


def _entries(window: Window, orders: list[Order], late: list[ClientModel]) -> Iterator[LogEntry | None]:
    yield from _mask_entries(window)
    yield from _model_entries(window, late)
    for certificate in window.certificates.all():
        yield certificate.entry
    for order in orders:
        held = order.client_model
        yield from (held.circuit.entry, held.entry, order.entry, order.exception_entry)
        yield order.objection.entry if hasattr(order, "objection") else None
        yield from _line_entries(held)
        for claim in order.claims.all():
            yield claim.entry
            if hasattr(claim, "challenge"):
                yield claim.challenge.entry
            if hasattr(claim, "proof"):
                yield claim.proof.entry
                yield claim.proof.verdict.entry if hasattr(claim.proof, "verdict") else None


def _line_entries(held: ClientModel) -> Iterator[LogEntry | None]:
    """How a model showed that it continues an unlearned one, and the earlier masks that this was about."""
    if hasattr(held, "continuation"):
        shown = held.continuation
        yield from (shown.challenge_entry, shown.proof_entry, shown.verdict_entry)
        for window in masks_before(held.client, held.model, held.entry):
            yield from _mask_entries(window)


def _mask_entries(window: Window) -> Iterator[LogEntry | None]:
    """What led to a window's mask: its requests with all that was said about them."""
    yield from (window.model.entry, window.closed_entry, window.mask_entry)
    for request in window.requests.all():
        yield from (request.filed_entry, request.decision_entry, request.erased_entry)
        yield from (request.acknowledged_entry, request.extension_entry)
        for check in request.identity_checks.select_related("entry"):
            yield check.entry
        for hold in request.holds.select_related("set_entry", "lifted_entry"):
            yield from (hold.set_entry, hold.lifted_entry)


def _model_entries(window: Window, late: list[ClientModel]) -> Iterator[LogEntry | None]:
    """Releases that the model supersedes, and what certificates refer to of clients without an order."""
    model = window.model.supersedes
    while model is not None:
        yield model.entry
        model = model.supersedes
    for suspension in _suspensions(window):
        yield from (suspension.set_entry, suspension.lifted_entry)
    for held in late:
        yield from (held.circuit.entry, held.entry)
        yield from _line_entries(held)


def _not_ordered(window: Window) -> list[NotOrdered]:
    """The clients that certificates name as those without an order."""
    said = [
        log.statement(certificate.entry).predicate for certificate in window.certificates.select_related("entry")
    ]
    return [one for it in said if isinstance(it, predicates.Certificate) for one in it.not_ordered]


def _suspensions(window: Window) -> QuerySet[Suspension]:
    """All suspensions of the clients that have orders, or that certificates name: the rules count them."""
    clients = {one.client for one in _not_ordered(window)}
    ordered = Client.objects.filter(models__orders__window=window)
    found = Suspension.objects.filter(Q(client__in=clients) | Q(client__in=ordered))
    return found.select_related("set_entry", "lifted_entry")


def _late_commitments(window: Window) -> list[ClientModel]:
    """Commitments after the mask, as certificates name them."""
    indices = [one.ref.index for one in _not_ordered(window) if one.reason == "committed-after-mask"]
    return list(ClientModel.objects.filter(entry__in=indices).select_related("entry", "circuit__entry"))


def _key_entries(held: list[ClientModel]) -> Iterator[LogEntry | None]:
    """Every rotation of a key, and every enrolment and revocation of the clients concerned."""
    yield from LogEntry.objects.filter(predicate_type=KeyRotation.type_uri())
    clients = {one.client_id for one in held}
    for key in ClientKey.objects.filter(client__in=clients).select_related("enrolled_entry", "revoked_entry"):
        yield from (key.enrolled_entry, key.revoked_entry)


def _challenged(orders: list[Order]) -> Iterator[Any]:
    for order in orders:
        yield from order.claims.filter(challenge__isnull=False)


def _digests(window: Window, orders: list[Order], held: list[ClientModel]) -> Iterator[str]:
    yield window.mask_sha256
    releases: set[CircuitRelease] = {one.circuit for one in held}
    for release in releases:
        yield from (release.blobs[role] for role in VERIFIER_ROLES)
    for one in held:
        yield from (one.weights_sha256, one.curvature_sha256)
        if hasattr(one, "continuation"):
            yield from filter(None, [one.continuation.bundle_sha256])
            yield from (before.mask_sha256 for before in masks_before(one.client, one.model, one.entry))
    for order in orders:
        for claim in order.claims.all():
            yield from (claim.weights_sha256, claim.solution_sha256)
            if hasattr(claim, "proof"):
                yield claim.proof.bundle_sha256


def _with_proof(entry: LogEntry, size: int) -> dict[str, Any]:
    proof = [_text(node) for node in log.inclusion(entry.index, size)]
    return {"index": entry.index, "envelope": _text(bytes(entry.envelope)), "proof": proof}


def _index(entry: LogEntry) -> int:
    return entry.index


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
