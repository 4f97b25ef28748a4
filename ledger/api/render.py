"""Rows as the JSON that programs read: camelCase, RFC 3339 times in Z, references as {index, leafHash}."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

from ledger import log
from ledger.models import (
    Certificate,
    CircuitRelease,
    Claim,
    Client,
    ClientKey,
    ClientModel,
    Continuation,
    Event,
    Export,
    FsckRun,
    GlobalModel,
    Job,
    LogEntry,
    Order,
    ProofSubmission,
    Upload,
    VerdictRecord,
)
from ledger.uploads import Part

Json = dict[str, Any]
#: What rendering a client's commitment needs.
CLIENT_MODEL: Final = (
    "entry", "model__entry", "continues__entry", "continuation__challenge_entry", "continuation__proof_entry",
    "continuation__verdict_entry",
)  # fmt: skip


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
        "supersedes": None if row.supersedes_id is None else str(row.supersedes_id),
        "retired": ref(row.retired_entry),
    }


def client(row: Client, now: datetime) -> Json:
    """A client in one line of a list."""
    return {
        "uuid": str(row.uuid),
        "name": row.name,
        "state": row.state_at(now),
        "invitedAt": time(row.invited_at),
        "tokenExpiresAt": None if row.token_used_at else time(row.token_expires_at),
        "enrolled": ref(row.enrolled_entry),
        "retired": ref(row.retired_entry),
    }


def client_detail(row: Client, now: datetime) -> Json:
    """A client with its keys and what it has committed to."""
    models = row.models.select_related(*CLIENT_MODEL).order_by("entry")
    return client(row, now) | {
        "keys": client_keys(row),
        "models": [client_model(held) for held in models],
    }


def client_keys(row: Client) -> list[Json]:
    """All keys of a client, oldest first."""
    keys = row.keys.select_related("enrolled_entry", "revoked_entry").order_by("enrolled_entry")
    return [client_key(key) for key in keys]


def client_key(row: ClientKey) -> Json:
    """A key; `since` and `revoked` say where in the log it begins and ends."""
    return {
        "keyid": row.keyid,
        "publicKey": row.public_key,
        "label": row.label,
        "valid": row.revoked_entry_id is None,
        "since": ref(row.enrolled_entry),
        "revoked": ref(row.revoked_entry),
    }


def client_model(row: ClientModel) -> Json:
    """A commitment of a client, and how it stands with the zeros of earlier windows."""
    shown = getattr(row, "continuation", None)
    return {
        "commitment": ref(row.entry),
        "model": ref(row.model.entry),
        "state": row.state,
        "continues": None if row.continues is None else ref(row.continues.entry),
        "continuity": row.continuity,
        "continuation": None if shown is None else _continuation(shown),
    }


def _continuation(row: Continuation) -> Json:
    return {
        "challenge": ref(row.challenge_entry),
        "proof": ref(row.proof_entry),
        "verdict": ref(row.verdict_entry),
        "failures": row.failures,
    }


def line(last: ClientModel | None, accepted: Iterable[VerdictRecord]) -> Json:
    """What a further commitment of a client on a model continues, and the orders whose zeros it must keep."""
    orders = [(verdict, verdict.proof.claim.order) for verdict in accepted]
    return {
        "continues": None if last is None else ref(last.entry),
        "orders": [
            {"order": ref(order.entry), "mask": ref(order.window.mask_entry), "verdict": ref(verdict.entry)}
            for verdict, order in orders
        ],
    }


def order(row: Order) -> Json:
    """An order as its client sees it; claim, challenge, proof and verdict are of the latest attempt."""
    held: ClientModel = row.client_model
    claim = max(row.claims.all(), key=lambda each: each.attempt, default=None)
    return {
        "uuid": str(row.uuid),
        "window": str(row.window_id),
        "client": str(held.client_id),
        "state": row.state,
        "attempt": row.attempt,
        "dueAt": time(row.due_at),
        "coverage": row.coverage,
        "exception": ref(row.exception_entry),
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


def event(row: Event) -> Json:
    """One thing that happened."""

    def name(value: uuid.UUID | None) -> str | None:
        return None if value is None else str(value)

    return {
        "id": row.pk,
        "kind": row.kind,
        "at": time(row.created_at),
        "actor": {"kind": row.actor_kind, "name": row.actor_name},
        "request": name(row.request),
        "window": name(row.window),
        "order": name(row.order),
        "client": name(row.client),
        "model": name(row.model),
        "entry": ref(row.entry),
        "data": row.data,
    }


def own_event(row: Event) -> Json:
    """The same for the client that it is about: without who did it, and why."""
    shown = event(row)
    return {name: shown[name] for name in ("id", "kind", "at", "order", "window", "model", "entry")}


def upload(row: Upload, parts: list[Part]) -> Json:
    """A file under way, with the parts that are there."""
    return {
        "id": str(row.uuid),
        "sha256": row.sha256,
        "size": row.size,
        "complete": False,
        "partSize": row.part_size,
        "parts": row.parts,
        "received": [{"number": part.number, "size": part.size, "sha256": part.sha256} for part in parts],
        "expiresAt": time(row.expires_at),
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


def export(row: Export) -> Json:
    """An audit report."""
    work = Job.objects.get(kind=Job.Kind.EXPORT, target=row.uuid)
    return {
        "uuid": str(row.uuid),
        "scope": row.scope,
        "about": None if row.about is None else str(row.about),
        "since": time(row.since),
        "until": time(row.until),
        "format": row.form,
        "personalData": row.personal_data,
        "reason": row.reason,
        "askedBy": {"kind": row.actor_kind, "name": row.actor_name},
        "createdAt": time(row.created_at),
        "state": work.state,
        "progress": work.progress,
        "message": work.message,
        "error": work.error,
        "job": str(work.uuid),
        "entry": ref(row.entry),
        "sha256": row.sha256,
        "size": row.size,
        "expiresAt": time(row.expires_at),
        "available": row.file is not None and row.file.erased_at is None,
    }


def entry_line(row: LogEntry) -> Json:
    """A log entry in a list."""
    return entry(row) | {"signer": row.signer, "loggedAt": time(row.created_at)}


def certificate(row: Certificate) -> Json:
    """A certificate."""
    return {
        "uuid": str(row.uuid),
        "request": str(row.request_id),
        "window": str(row.window_id),
        "complete": row.complete,
        "ref": ref(row.entry),
    }


def proof(row: ProofSubmission) -> Json:
    """A proof and its verdict."""
    return {
        "uuid": str(row.uuid),
        "order": str(row.claim.order_id),
        "client": str(row.claim.order.client_model.client_id),
        "attempt": row.claim.attempt,
        "bundleSha256": row.bundle_sha256,
        "ref": ref(row.entry),
        "verdict": _verdict(row.claim),
    }


def check(row: FsckRun) -> Json:
    """A complete check of the log."""
    return {
        "startedAt": time(row.started_at),
        "seconds": row.seconds,
        "entries": row.entries,
        "problem": row.problem or None,
    }
