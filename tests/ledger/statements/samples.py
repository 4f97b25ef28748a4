"""One valid predicate of each kind."""

from __future__ import annotations

from datetime import UTC, datetime

from ledger.statements import predicates as p
from ledger.statements.predicates.base import LogRef
from ledger.statements.predicates.certificate import NotOrdered, Outcome
from ledger.statements.predicates.circuit_release import Circuit, CircuitParameters, Srs
from ledger.statements.predicates.model_release import TargetTensor
from ledger.statements.predicates.verdict import Failure
from ledger.statements.predicates.window_policy import WindowPolicy

UUID = "01234567-89ab-cdef-0123-456789abcdef"
SHA = "0f" * 32
REF = LogRef(index=7, leaf_hash=SHA)
TIME = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
CIRCUIT = Circuit(settings_sha256=SHA, vk_sha256=SHA, blinding_rows=6)

SAMPLES: list[p.Predicate] = [
    p.CircuitRelease(
        parameters=CircuitParameters(
            logrows=14, columns=1, blocks=128, block_size=64, rank=8, damping=256, factor_limit=31,
            grid_bits=22, salt_rows=2, range_group=4,
        ),
        digit_base=128, table_end=16000, relation=CIRCUIT, range=CIRCUIT,
        srs=Srs(sha256=SHA, provenance="development"), engine="engine 1",
    ),
    p.ModelRelease(
        name="modèle", file_sha256=SHA, architecture={"library": "timm", "img_size": 8},
        targets=[TargetTensor(name="blocks.0.mlp.fc1.weight", shape=[256, 64])],
    ),
    p.ClientEnrolment(client=UUID, public_key=SHA),
    p.ModelCommitment(
        client=UUID, model=REF, circuit=REF, chunks=8, weights_sha256=SHA, weights_root=SHA,
        curvature_sha256=SHA, curvature_root=SHA, other_tensors_sha256=SHA,
    ),
    p.DeletionRequest(request=UUID, commitment=SHA, regulation="gdpr", received_at=TIME, due_at=TIME,
        terms=p.Terms(months=1, days=0, extension_months=2)),
    p.RequestAcknowledgement(request=UUID, filed=REF, acknowledged_at=TIME),
    p.IdentityCheck(
        request=UUID, filed=REF, number=1, method="in-person", result="verified", checked_at=TIME,
    ),
    p.RequestExtension(
        request=UUID, filed=REF, reason="complexity", notified_at=TIME, extended_at=TIME, due_at=TIME,
    ),
    p.RequestHold(request=UUID, filed=REF, number=1, action="set", reason="litigation", at=TIME),
    p.SubjectAccess(request=UUID, filed=REF, number=1, viewer=SHA, reason="contact", at=TIME),
    p.RequestClosure(request=UUID, filed=REF, state="revoked", reason="subject-withdrew", closed_at=TIME),
    p.RequestDecision(
        request=UUID, filed=REF, decision="denied", reason="no_match", decided_at=TIME, reference=SHA,
    ),
    p.KeyRotation(role="log", old_key=SHA, new_key="1e" * 32, rotated_at=TIME),
    p.ClientKeyRevocation(client=UUID, enrolled=REF, reason="lost", revoked_at=TIME),
    p.ClientSuspension(client=UUID, action="suspend", number=1, reason="unanswered", decided_at=TIME),
    p.ModelRetirement(model=REF, reason="superseded", retired_at=TIME),
    p.OrderException(order=REF, client=UUID, reason="client-gone", excepted_at=TIME),
    p.RequestFulfilment(request=UUID, decision=REF, certificates=[REF], fulfilled_at=TIME),
    p.ContinuationChallenge(commitment=REF, checkpoint="log\n1\nAAAA\n\n— log AAAA\n"),
    p.ContinuationProof(commitment=REF, challenge=REF, client=UUID, bundle_sha256=SHA),
    p.ContinuationVerdict(
        proof=REF, commitment=REF, bundle_sha256=SHA, masks=[REF], result="accepted", proved_chunks=2,
        srs_provenance="ceremony",
    ),
    p.ClientKeyAddition(client=UUID, public_key=SHA, added_at=TIME),
    p.ClientKeyRotation(client=UUID, replaces=REF, public_key=SHA, rotated_at=TIME),
    p.ClientRetirement(client=UUID, retired_at=TIME),
    p.ClientModelRetirement(client=UUID, model=REF, commitment=REF, retired_at=TIME),
    p.Tombstone(request=UUID, filed=REF, reason="subject-asked", erased_at=TIME),
    p.WindowClose(
        window=UUID, model=REF, decisions=[REF], closed_at=TIME,
        policy=WindowPolicy(coverage="sampled(20)", quorum_percent=90, order_days=14, remind_days_before=[3]),
    ),
    p.Mask(
        window=UUID, closed=REF, model=REF, mask_sha256=SHA, masked=10, total=100,
        recipe={"budget": 0.04, "seed": 0, "forget": {"class": 8}, "note": None},
    ),
    p.OrderObjection(order=REF, client=UUID, reason="damage", objected_at=TIME),
    p.Order(order=UUID, window=UUID, client=UUID, commitment=REF, mask=REF, circuit=REF, due_at=TIME),
    p.Claim(
        order=REF, client=UUID, attempt=1, weights_sha256=SHA, weights_root=SHA, solution_sha256=SHA,
        solution_root=SHA, other_tensors_sha256=SHA,
    ),
    p.Challenge(claim=REF, checkpoint="log\n1\nAAAA\n\n— log AAAA\n", claimed_at=TIME, draw_secret=SHA),
    p.Proof(claim=REF, challenge=REF, client=UUID, bundle_sha256=SHA),
    p.Verdict(
        proof=REF, claim=REF, bundle_sha256=SHA, result="rejected", failures=[Failure(chunk=3, reason="no")],
        failed_chunks=1, proved_chunks=7, untouched_chunks=0, detection="1", srs_provenance="development",
    ),
    p.Certificate(
        request=UUID, filed=REF, decision=REF, window=REF, mask=REF,
        outcomes=[Outcome(order=REF, client=UUID, status="met", verdict=REF)], srs_provenance="ceremony",
        proves=["this"], does_not_prove=["that"], issued_at=TIME,
    ),
    p.WindowRequests(window=UUID, model=REF, number=2, previous=REF, decisions=[REF]),
    p.WindowOutcomes(
        window=REF, mask=REF, number=1, supplements=REF,
        outcomes=[Outcome(order=REF, client=UUID, status="met", verdict=REF)],
        not_ordered=[NotOrdered(client=UUID, reason="suspended", ref=REF)],
    ),
    p.AuditReport(
        report=UUID, scope="window", about=UUID, form="pdf", sha256=SHA, size=10, covers=1, personal_data=True,
        reason="court-order", made_at=TIME,
    ),
]  # fmt: skip
