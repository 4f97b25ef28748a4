"""Later versions of a model: which weights must still be zero, the challenge, the proof, and what came of it."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from django.db.models import QuerySet

from ledger import blobs, log, publication, queue
from ledger.models import (
    Client,
    ClientModel,
    Continuation,
    GlobalModel,
    Job,
    LogEntry,
    VerdictRecord,
    Window,
)
from ledger.statements import predicates
from ledger.statements.predicates.base import LogRef
from ledger.workflow import events, points
from ledger.workflow.actors import client_actor
from ledger.workflow.errors import WorkflowError
from ledger.workflow.proofs import VerdictResult, fit_failures
from ledger.workflow.step import (
    Accepted,
    Submission,
    exclusive,
    expect_ref,
    get_or_refuse,
    log_own,
    open_submission,
    replayed,
)

State = ClientModel.Continuity


@dataclass(frozen=True)
class ContinuationTask:
    """Everything that decides a continuation, by value or as paths of files in the blob store."""

    circuit: predicates.CircuitRelease
    circuit_paths: dict[str, Path]
    total_weights: int
    commitment_ref: LogRef
    weights: Path
    curvature: Path
    masks: Sequence[Path]
    checkpoint_origin: str
    checkpoint_size: int
    checkpoint_root: bytes
    bundle: Path


def masks_before(client: Client, model: GlobalModel, entry: LogEntry | None) -> list[Window]:
    """The windows whose masks accepted claims of the client on the model have applied, before `entry` if given."""
    met = accepted_before(client, model, entry)
    return list(dict.fromkeys(verdict.proof.claim.order.window for verdict in met))


def accepted_before(client: Client, model: GlobalModel, entry: LogEntry | None) -> QuerySet[VerdictRecord]:
    """The verdicts that accepted claims of the client on the model, before `entry` if given, oldest first."""
    held = {"proof__claim__order__client_model__client": client, "proof__claim__order__client_model__model": model}
    met = VerdictRecord.objects.filter(accepted=True, **held).order_by("entry")
    if entry is not None:
        met = met.filter(entry__index__lt=entry.index)
    return met.select_related("entry", "proof__claim__order__entry", "proof__claim__order__window__mask_entry")


def continued(client: Client, model: GlobalModel, said: predicates.ModelCommitment) -> ClientModel | None:
    """The commitment that `said` continues, if it says so; 422 unless it is the client's last one on the model."""
    if said.continues is None:
        return None
    last = client.models.filter(model=model).select_related("entry").order_by("-entry").first()
    if last is None or said.continues != log.entry_ref(last.entry):
        wanted = "there is none to continue" if last is None else f"the last one is entry {last.entry_id}"
        raise WorkflowError(
            "wrong-reference",
            f"the statement continues log entry {said.continues.index} as this client's last commitment: {wanted}",
            422,
        )
    return last


def begin(held: ClientModel) -> None:
    """Say how it stands with a new commitment's zeros, and ask for its challenge where there are some to show."""
    if masks_before(held.client, held.model, held.entry):
        held.continuity = State.UNLINKED if held.continues_id is None else State.AWAITED
        held.save()
    if held.continuity == State.AWAITED:
        queue.enqueue(Job.Kind.CONTINUATION_CHALLENGE, held.uuid)


def draw_challenge(client_model_id: uuid.UUID | str) -> Continuation:
    """Log which checkpoint is the commitment's challenge: the first published one that covers it.

    Again: the same. Raises WorkflowError: unknown (404), nothing to show (409); NotCosignedError while witnesses
    keep the checkpoint from being published.
    """
    publication.try_to_publish()  # before the log's lock is taken: witnesses take their time
    return _draw(client_model_id)


@exclusive
def _draw(client_model_id: uuid.UUID | str) -> Continuation:
    rows = ClientModel.objects.select_related("entry", "client", "model")
    held = get_or_refuse(rows, "commitment", uuid=client_model_id)
    known = Continuation.objects.filter(client_model=held).first()
    if known is not None:
        return known
    if held.continuity != State.AWAITED:
        raise WorkflowError("nothing-to-show", f"commitment {held.entry_id} is {held.continuity}: no proof is due")
    checkpoint = log.first_checkpoint_covering(held.entry)
    entry = log_own(
        predicates.ContinuationChallenge(commitment=log.entry_ref(held.entry), checkpoint=checkpoint.note)
    )
    return Continuation.objects.create(client_model=held, checkpoint=checkpoint, challenge_entry=entry)


@exclusive
def accept_continuation_proof(body: bytes) -> Accepted:
    """Log that a client has uploaded its proofs (a DSSE envelope), and ask for their verification.

    Raises WorkflowError: not a commitment of this client, wrong challenge, file not uploaded (422); no challenge
    yet, or proved before (409).
    """
    submission = open_submission(body, predicates.ContinuationProof)
    return replayed(submission.envelope) or _accept(submission)


def _accept(submission: Submission[predicates.ContinuationProof]) -> Accepted:
    client, said = submission.client, submission.predicate
    held = client.models.filter(entry=log.resolve(said.commitment)).first()
    if held is None:
        raise WorkflowError(
            "wrong-reference", f"log entry {said.commitment.index} is no commitment of client {client.uuid}", 422
        )
    row = Continuation.objects.filter(client_model=held).select_related("challenge_entry").first()
    if row is None or row.proof_entry_id is not None:
        what = "has no challenge yet" if row is None else "was proved before; one proof is taken"
        raise WorkflowError("not-challenged", f"commitment {held.entry_id} {what}")
    expect_ref(said.challenge, row.challenge_entry, "challenge")
    points.expect_upload(client, "proof", said.bundle_sha256)
    accepted = submission.append()
    row.proof_entry, row.bundle_sha256 = accepted.entry, said.bundle_sha256
    row.save()
    queue.enqueue(Job.Kind.CONTINUATION, row.uuid)
    return accepted


def continuation_task(continuation_id: uuid.UUID | str) -> ContinuationTask:
    """Everything a verifier of this continuation needs. Raises WorkflowError (404)."""
    row = _row(continuation_id)
    held, checkpoint = row.client_model, row.checkpoint
    circuit = log.statement(held.circuit.entry).predicate
    assert isinstance(circuit, predicates.CircuitRelease)
    return ContinuationTask(
        circuit=circuit,
        circuit_paths={role: blobs.path(digest) for role, digest in held.circuit.blobs.items()},
        total_weights=held.model.total_weights,
        commitment_ref=log.entry_ref(held.entry),
        weights=blobs.path(held.weights_sha256),
        curvature=blobs.path(held.curvature_sha256),
        masks=[blobs.path(window.mask_sha256) for window in masks_before(held.client, held.model, held.entry)],
        checkpoint_origin=checkpoint.note.split("\n", 1)[0],
        checkpoint_size=checkpoint.size,
        checkpoint_root=bytes(checkpoint.root),
        bundle=blobs.path(row.bundle_sha256),
    )


@exclusive
def record_continuation(continuation_id: uuid.UUID | str, result: VerdictResult) -> Continuation:
    """Log what the verifier found. Again: the first verdict stands. Raises WorkflowError (404)."""
    row = _row(continuation_id)
    if row.verdict_entry_id is not None:
        return row
    held = row.client_model
    assert row.proof_entry is not None
    failures = fit_failures(result.failures)
    windows = masks_before(held.client, held.model, held.entry)
    row.verdict_entry = log_own(
        predicates.ContinuationVerdict(
            proof=log.entry_ref(row.proof_entry),
            commitment=log.entry_ref(held.entry),
            bundle_sha256=row.bundle_sha256,
            masks=[log.entry_ref(window.mask_entry) for window in windows if window.mask_entry is not None],
            result="accepted" if result.accepted else "rejected",
            failures=failures,
            failed_chunks=result.failed_chunks,
            proved_chunks=result.proved_chunks,
            srs_provenance=held.circuit.srs_provenance,
        )
    )
    row.failures = [failure.model_dump(by_alias=True) for failure in failures]
    row.save()
    held.continuity = State.SHOWN if result.accepted else State.REFUTED
    held.save()
    events.record(
        "client.continuation-shown" if result.accepted else "client.continuation-refuted",
        actor=client_actor(held.client), client=held.client_id, model=held.model_id, entry=row.verdict_entry,
    )  # fmt: skip
    return row


def _row(continuation_id: uuid.UUID | str) -> Continuation:
    rows = Continuation.objects.select_related(
        "client_model__client", "client_model__model", "client_model__circuit__entry", "client_model__entry",
        "checkpoint", "proof_entry",
    )  # fmt: skip
    return get_or_refuse(rows, "continuation", uuid=continuation_id)
