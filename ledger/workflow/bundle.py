"""Audit bundles: everything a stranger needs to check a window again, in one JSON document."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Iterator
from typing import Any, Final

from django.conf import settings

from ledger import blobs, keys, log, publication
from ledger.models import Checkpoint, CircuitRelease, ClientKey, LogEntry, Order, Window
from ledger.statements.predicates import KeyRotation
from ledger.statements.predicates.circuit_release import VERIFIER_ROLES
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
    found = [*_entries(window, orders), *_key_entries(orders)]
    entries = sorted({entry.index: entry for entry in found if entry}.values(), key=_index)
    head = _head_covering(entries[-1])
    sizes = {claim.challenge.checkpoint_id for claim in _challenged(orders)}
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
        "blobs": {digest: _text(blobs.read(digest)) for digest in sorted(set(_digests(window, orders)))},
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


def _entries(window: Window, orders: list[Order]) -> Iterator[LogEntry | None]:
    yield from (window.model.entry, window.closed_entry, window.mask_entry)
    for request in window.requests.all():
        yield from (request.filed_entry, request.decision_entry, request.erased_entry)
        yield from (request.acknowledged_entry, request.extension_entry)
        for check in request.identity_checks.select_related("entry"):
            yield check.entry
        for hold in request.holds.select_related("set_entry", "lifted_entry"):
            yield from (hold.set_entry, hold.lifted_entry)
    for certificate in window.certificates.all():
        yield certificate.entry
    for order in orders:
        held = order.client_model
        yield from (held.circuit.entry, held.entry, order.entry)
        yield order.objection.entry if hasattr(order, "objection") else None
        for claim in order.claims.all():
            yield claim.entry
            if hasattr(claim, "challenge"):
                yield claim.challenge.entry
            if hasattr(claim, "proof"):
                yield claim.proof.entry
                yield claim.proof.verdict.entry if hasattr(claim.proof, "verdict") else None


def _key_entries(orders: list[Order]) -> Iterator[LogEntry | None]:
    """Every rotation of a key, and every enrolment and revocation of the clients concerned."""
    yield from LogEntry.objects.filter(predicate_type=KeyRotation.type_uri())
    clients = {order.client_model.client_id for order in orders}
    for key in ClientKey.objects.filter(client__in=clients).select_related("enrolled_entry", "revoked_entry"):
        yield from (key.enrolled_entry, key.revoked_entry)


def _challenged(orders: list[Order]) -> Iterator[Any]:
    for order in orders:
        yield from order.claims.filter(challenge__isnull=False)


def _digests(window: Window, orders: list[Order]) -> Iterator[str]:
    yield window.mask_sha256
    releases: set[CircuitRelease] = {order.client_model.circuit for order in orders}
    for release in releases:
        yield from (release.blobs[role] for role in VERIFIER_ROLES)
    for order in orders:
        yield from (order.client_model.weights_sha256, order.client_model.curvature_sha256)
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
