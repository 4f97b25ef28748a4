"""Proofs and verdicts: what a verifier needs to know, and what it found."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ledger import blobs, log, queue
from ledger.models import Claim, ClientModel, Job, Order, ProofSubmission, VerdictRecord, Window
from ledger.statements import canonical, coverage, coverage_rules, predicates
from ledger.statements.predicates.base import LogRef
from ledger.statements.predicates.verdict import Caught, Failure
from ledger.workflow import points
from ledger.workflow.actors import client_actor
from ledger.workflow.certificates import supplement
from ledger.workflow.errors import WorkflowError
from ledger.workflow.orders import expect_answerable, record_about
from ledger.workflow.settling import settle_window
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
from ledger.workflow.suspension import lift_for

MAX_FAILURES: Final = 200
MAX_FAILURE_BYTES: Final = 30_000  # of all failures together: a leaf has 65,535 bytes, a third of it base64


@dataclass(frozen=True)
class VerdictResult:
    """What a verifier found. `failures` pairs a chunk (None: the whole claim) with a reason, one sentence."""

    accepted: bool
    failures: Sequence[tuple[int | None, str]]
    failed_chunks: int
    proved_chunks: int
    untouched_chunks: int
    touched_chunks: int | None = None  # None: the claim was too malformed to count them


@dataclass(frozen=True)
class VerificationCase:
    """Everything that decides a proof, by value or as paths of files in the blob store.

    The verifier derives the challenge from the checkpoint and the claim's index and leaf hash, and checks the
    files against their roots and digests: nothing here is to be believed beyond what the log says.
    """

    proof: uuid.UUID
    order: predicates.Order
    challenge: predicates.Challenge
    circuit: predicates.CircuitRelease
    circuit_paths: dict[str, Path]  # by role, see predicates.circuit_release.ROLES
    total_weights: int
    commitment: predicates.ModelCommitment
    commitment_weights: Path
    commitment_curvature: Path
    claim: predicates.Claim
    claim_ref: LogRef
    claim_weights: Path
    claim_solution: Path
    mask: predicates.Mask
    mask_path: Path
    directions_path: Path | None
    checkpoint_origin: str
    checkpoint_size: int
    checkpoint_root: bytes
    bundle_sha256: str
    bundle_path: Path


@exclusive
def accept_proof(body: bytes) -> Accepted:
    """Log that a client has uploaded the proof bundle of its claim (a DSSE envelope), and ask for its
    verification.

    Raises WorkflowError: not a claim of this client, wrong challenge, bundle not uploaded (422); no challenge
    yet, or proved before (409).
    """
    submission = open_submission(body, predicates.Proof)
    return replayed(submission.envelope) or _accept(submission)


def _accept(submission: Submission[predicates.Proof]) -> Accepted:
    client, said = submission.client, submission.predicate
    claims = Claim.objects.filter(order__client_model__client=client).select_related(
        "order__window", "order__client_model"
    )
    claim = claims.filter(entry=log.resolve(said.claim)).first()
    if claim is None:
        raise WorkflowError(
            "wrong-reference", f"log entry {said.claim.index} is no claim of client {client.uuid}", 422
        )
    order = claim.order
    expect_answerable(order)
    if order.state != Order.State.CHALLENGED or claim.attempt != order.attempt:
        raise WorkflowError(
            "not-challenged",
            f"order {order.uuid} is {order.state} at attempt {order.attempt}: no proof is awaited",
        )
    expect_ref(said.challenge, claim.challenge.entry, "challenge")
    points.expect_upload(client, "proof bundle", said.bundle_sha256)
    accepted = submission.append()
    proof = ProofSubmission.objects.create(claim=claim, bundle_sha256=said.bundle_sha256, entry=accepted.entry)
    order.state = Order.State.PROVED
    order.save()
    record_about("order.proved", order, client_actor(client), entry=accepted.entry)
    queue.enqueue(Job.Kind.VERIFY, proof.uuid)
    return accepted


def verification_case(proof_id: uuid.UUID | str) -> VerificationCase:
    """Everything a verifier of this proof needs. Raises WorkflowError (404)."""
    proof = get_or_refuse(ProofSubmission.objects.select_related("claim__order"), "proof", uuid=proof_id)
    claim, order = proof.claim, proof.claim.order
    client_model, window, checkpoint = order.client_model, order.window, claim.challenge.checkpoint
    assert window.mask_entry is not None
    circuit, commitment, said, mask, ordered, challenge = (
        log.statement(entry).predicate
        for entry in (
            client_model.circuit.entry, client_model.entry, claim.entry, window.mask_entry, order.entry,
            claim.challenge.entry,
        )
    )  # fmt: skip
    assert isinstance(circuit, predicates.CircuitRelease)
    assert isinstance(commitment, predicates.ModelCommitment)
    assert isinstance(said, predicates.Claim)
    assert isinstance(mask, predicates.Mask)
    assert isinstance(ordered, predicates.Order)
    assert isinstance(challenge, predicates.Challenge)
    return VerificationCase(
        proof=proof.uuid,
        order=ordered,
        challenge=challenge,
        circuit=circuit,
        circuit_paths={role: blobs.path(digest) for role, digest in client_model.circuit.blobs.items()},
        total_weights=window.model.total_weights,
        commitment=commitment,
        commitment_weights=blobs.path(commitment.weights_sha256),
        commitment_curvature=blobs.path(commitment.curvature_sha256),
        claim=said,
        claim_ref=log.entry_ref(claim.entry),
        claim_weights=blobs.path(said.weights_sha256),
        claim_solution=blobs.path(said.solution_sha256),
        mask=mask,
        mask_path=blobs.path(mask.mask_sha256),
        directions_path=None if mask.directions_sha256 is None else blobs.path(mask.directions_sha256),
        checkpoint_origin=checkpoint.note.split("\n", 1)[0],
        checkpoint_size=checkpoint.size,
        checkpoint_root=bytes(checkpoint.root),
        bundle_sha256=proof.bundle_sha256,
        bundle_path=blobs.path(proof.bundle_sha256),
    )


@exclusive
def record_verdict(proof_id: uuid.UUID | str, result: VerdictResult) -> VerdictRecord:
    """Log what the verifier found; the order is met, or rejected and open for another attempt.

    Once met, the claim's points are the client's weights and the model-commitment is superseded: before it
    can follow another mask, the client logs a new one for the weights and curvature it now has. A client that was
    suspended for this order is reinstated; a window that was certified without it gets supplements. Again for the
    same proof: the first verdict stands. Raises WorkflowError (404).
    """
    proof = get_or_refuse(
        ProofSubmission.objects.select_related("claim__order__window", "claim__order__client_model"),
        "proof",
        uuid=proof_id,
    )
    known = VerdictRecord.objects.filter(proof=proof).first()
    if known is not None:
        return known
    order = proof.claim.order
    failures = fit_failures(result.failures)
    ordered = log.statement(order.entry).predicate
    assert isinstance(ordered, predicates.Order)
    due = coverage.of_attempt(ordered.coverage, proof.claim.attempt)
    entry = log_own(
        predicates.Verdict(
            proof=log.entry_ref(proof.entry),
            claim=log.entry_ref(proof.claim.entry),
            bundle_sha256=proof.bundle_sha256,
            result="accepted" if result.accepted else "rejected",
            failures=failures,
            failed_chunks=result.failed_chunks,
            proved_chunks=result.proved_chunks,
            untouched_chunks=result.untouched_chunks,
            touched_chunks=result.touched_chunks,
            coverage=due,
            **_figures(due, result.touched_chunks),
            srs_provenance=order.client_model.circuit.srs_provenance,
        )
    )
    verdict = VerdictRecord.objects.create(
        proof=proof,
        accepted=result.accepted,
        failures=[failure.model_dump(by_alias=True) for failure in failures],
        entry=entry,
    )
    _settle(order, proof.claim, accepted=result.accepted)
    record_about("order.met" if result.accepted else "order.rejected", order, entry=entry)
    if result.accepted:
        lift_for(order)
        if order.window.state == Window.State.CERTIFIED:
            supplement(order.window)
    return verdict


def _figures(due: str, touched: int | None) -> dict[str, Any]:
    """What a verdict says about the chance of catching a cheat: certain where everything was looked at."""
    if touched is None:
        return {"detection": "1"}
    caught = [Caught(chance=level, chunks=count) for level, count in coverage_rules.figures(due, touched)]
    return {"detection": coverage.detection(touched, coverage.proofs_due(due, touched)), "caught": caught}


def _settle(order: Order, claim: Claim, *, accepted: bool) -> None:
    order.state = Order.State.MET if accepted else Order.State.REJECTED
    order.save()
    if accepted:
        order.client_model.state = ClientModel.State.SUPERSEDED
        order.client_model.unlearned_by = claim
        order.client_model.save()
    settle_window(order.window)


def fit_failures(failures: Sequence[tuple[int | None, str]]) -> list[Failure]:
    """As many failures as a leaf can hold, the first ones."""
    kept: list[Failure] = []
    room = MAX_FAILURE_BYTES
    for chunk, reason in failures[:MAX_FAILURES]:
        failure = Failure(chunk=chunk, reason=reason[:300] or "no reason was given")
        room -= len(canonical.dumps(failure.model_dump(by_alias=True))) + 1
        if room < 0:
            break
        kept.append(failure)
    return kept
