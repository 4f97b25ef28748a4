"""Rows as the JSON that programs read: camelCase, RFC 3339 times in Z, references as {index, leafHash}."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any

from ledger import log
from ledger.models import (
    CircuitRelease,
    Claim,
    ClientModel,
    GlobalModel,
    Job,
    LogEntry,
    Order,
    Window,
)

Json = dict[str, Any]


def time(value: datetime | None) -> str | None:
    """RFC 3339, in Z."""
    return None if value is None else value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def ref(entry: LogEntry | None) -> Json | None:
    """A reference to a log entry."""
    return None if entry is None else log.entry_ref(entry).model_dump(by_alias=True)


def hashes(proof: list[bytes]) -> list[str]:
    """A Merkle proof, base64."""
    return [base64.b64encode(node).decode() for node in proof]


def entry(row: LogEntry) -> Json:
    """What POST /statements answers."""
    return {"index": row.index, "leafHash": bytes(row.leaf_hash).hex(), "predicateType": row.predicate_type}


def circuit(release: CircuitRelease) -> Json:
    """A circuit release with the digests of its files by role."""
    said = log.statement(release.entry).predicate.model_dump(mode="json", by_alias=True)
    return {"ref": ref(release.entry), "predicate": said, "blobs": release.blobs}


def model(row: GlobalModel) -> Json:
    """A global model."""
    said = log.statement(row.entry).predicate.model_dump(mode="json", by_alias=True)
    return {
        "uuid": str(row.uuid),
        "ref": ref(row.entry),
        "predicate": said,
        "dataset": row.dataset,
        "totalWeights": row.total_weights,
        "blobs": {"file": row.file_sha256},
    }


def order(row: Order) -> Json:
    """An order as its client sees it; claim, challenge, proof and verdict are of the latest attempt."""
    held: ClientModel = row.client_model
    claim = row.claims.order_by("-attempt").first()
    return {
        "uuid": str(row.uuid),
        "window": str(row.window_id),
        "client": str(held.client_id),
        "state": row.state,
        "attempt": row.attempt,
        "dueAt": time(row.due_at),
        "order": ref(row.entry),
        "mask": ref(row.window.mask_entry),
        "maskSha256": row.window.mask_sha256,
        "commitment": ref(held.entry),
        "circuit": ref(held.circuit.entry),
        "model": ref(held.model.entry),
        "claim": None if claim is None else ref(claim.entry),
        "challenge": None if claim is None else _challenge(claim),
        "proof": ref(claim.proof.entry) if claim is not None and hasattr(claim, "proof") else None,
        "verdict": None if claim is None else _verdict(claim),
        "objection": objection(row),
    }


def objection(row: Order) -> Json | None:
    """What the client has said against an order."""
    if not hasattr(row, "objection"):
        return None
    return {"reason": row.objection.reason, "ref": ref(row.objection.entry)}


def _challenge(claim: Claim) -> Json | None:
    if not hasattr(claim, "challenge"):
        return None
    return {
        "ref": ref(claim.challenge.entry),
        "checkpoint": claim.challenge.checkpoint.note,
        "claimIndex": claim.entry.index,
    }


def _verdict(claim: Claim) -> Json | None:
    if not hasattr(claim, "proof") or not hasattr(claim.proof, "verdict"):
        return None
    verdict = claim.proof.verdict
    result = "accepted" if verdict.accepted else "rejected"
    return {"ref": ref(verdict.entry), "result": result, "failures": verdict.failures}


def window(row: Window) -> Json:
    """A window with the states of its orders and the progress of all jobs that serve it."""
    orders = list(row.orders.select_related("client_model__client", "entry"))
    claims = Claim.objects.filter(order__in=orders)
    targets = [row.uuid, *(claim.uuid for claim in claims)]
    targets += claims.filter(proof__isnull=False).values_list("proof__uuid", flat=True)
    return {
        "uuid": str(row.uuid),
        "model": str(row.model_id),
        "state": row.state,
        "maskConfig": row.mask_config,
        "maskSha256": row.mask_sha256 or None,
        "masked": row.masked,
        "closed": ref(row.closed_entry),
        "mask": ref(row.mask_entry),
        "requests": [str(request.uuid) for request in row.requests.all()],
        "certificates": [ref(certificate.entry) for certificate in row.certificates.all()],
        "orders": [_order_line(order) for order in orders],
        "jobs": [job(each) for each in Job.objects.filter(target__in=targets).order_by("created_at")],
    }


def _order_line(row: Order) -> Json:
    client = row.client_model.client
    return {
        "uuid": str(row.uuid),
        "client": str(client.uuid),
        "clientName": client.name,
        "state": row.state,
        "attempt": row.attempt,
        "dueAt": time(row.due_at),
        "order": ref(row.entry),
        "objection": objection(row),
    }


def job(row: Job) -> Json:
    """A background job."""
    return {
        "uuid": str(row.uuid),
        "kind": row.kind,
        "target": str(row.target),
        "state": row.state,
        "attempts": row.attempts,
        "progress": row.progress,
        "message": row.message,
        "error": row.error,
    }
