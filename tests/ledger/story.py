"""A small provider and its clients, going through the ledger's use cases with files of the right sizes.

The points are random bytes: the ledger checks sizes, roots, owners and order; what points mean is the verifier's.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger import blobs, log, models
from ledger.statements import keys, predicates
from ledger.statements.predicates.base import LogRef
from ledger.statements.predicates.circuit_release import ROLES, Circuit, CircuitParameters, Srs
from ledger.statements.predicates.model_release import TargetTensor
from ledger.statements.statement import sign_statement
from ledger.tlog import merkle
from ledger.workflow import claims, clients, commitments, proofs, releases, request_steps, requests, windows
from ledger.workflow.errors import WorkflowError
from ledger.workflow.step import Accepted

PARAMETERS = CircuitParameters(
    logrows=8, columns=2, blocks=2, block_size=4, rank=2, damping=16, factor_limit=7, grid_bits=16, salt_rows=2,
    range_group=1,
)  # fmt: skip
TOTAL = 20  # weights: two full chunks of 8 and a padded one
CHUNKS = 3
FORGET = {"dataset": "digits", "class": 8}
OTHER = "ab" * 32


def records(count: int, size: int) -> tuple[bytes, str]:
    """A point file of `count` records and its root."""
    parts = [os.urandom(size) for _ in range(count)]
    return b"".join(parts), merkle.root_of(parts).hex()


@dataclass
class Party:
    """A client with its key, and everything it says."""

    row: models.Client
    token: str
    key: Ed25519PrivateKey = field(default_factory=keys.generate)

    @property
    def uuid(self) -> str:
        return str(self.row.uuid)

    def sign(self, predicate: predicates.Predicate) -> bytes:
        return sign_statement(predicate, self.key).to_bytes()

    def upload(self, data: bytes) -> str:
        return blobs.put(data, owner=self.row)[0].sha256

    def enrolment(self) -> bytes:
        return self.sign(predicates.ClientEnrolment(client=self.uuid, public_key=keys.public_hex(self.key)))

    def enrol(self) -> Accepted:
        accepted = clients.enrol_client(self.enrolment(), self.token)
        self.row.refresh_from_db()
        return accepted

    def commitment(self, model: LogRef, circuit: LogRef, /, **changes: Any) -> predicates.ModelCommitment:
        weights, weights_root = records(CHUNKS, 32)
        curvature, curvature_root = records(CHUNKS, 32 * (PARAMETERS.rank + PARAMETERS.block_size))
        said = predicates.ModelCommitment(
            client=self.uuid,
            model=model,
            circuit=circuit,
            chunks=CHUNKS,
            weights_sha256=self.upload(weights),
            weights_root=weights_root,
            curvature_sha256=self.upload(curvature),
            curvature_root=curvature_root,
            other_tensors_sha256=OTHER,
        )
        return said.model_copy(update=changes)

    def claim(self, order: models.Order, attempt: int = 1, **changes: Any) -> predicates.Claim:
        weights, weights_root = records(CHUNKS, 32)
        solution, solution_root = records(2, 64)
        said = predicates.Claim(
            order=log.entry_ref(order.entry),
            client=self.uuid,
            attempt=attempt,
            weights_sha256=self.upload(weights),
            weights_root=weights_root,
            solution_sha256=self.upload(solution),
            solution_root=solution_root,
            other_tensors_sha256=OTHER,
        )
        return said.model_copy(update=changes)

    def proof(self, claim: models.Claim, **changes: Any) -> predicates.Proof:
        said = predicates.Proof(
            claim=log.entry_ref(claim.entry),
            challenge=log.entry_ref(claim.challenge.entry),
            client=self.uuid,
            bundle_sha256=self.upload(os.urandom(100)),
        )
        return said.model_copy(update=changes)


@dataclass
class Story:
    """The provider's side; each step returns what it made."""

    folder: Path

    def __post_init__(self) -> None:
        self.circuit = releases.register_circuit(*self.circuit_release())
        self.model = self.release_model()

    def circuit_release(self) -> tuple[predicates.CircuitRelease, dict[str, Path]]:
        paths = {role: self.folder / role for role in ROLES}
        digests = {}
        for role, path in paths.items():
            path.write_bytes(role.encode())
            digests[role] = hashlib.sha256(role.encode()).hexdigest()

        def circuit(name: str) -> Circuit:
            return Circuit(
                settings_sha256=digests[f"{name}_settings"],
                vk_sha256=digests[f"{name}_vk"],
                blinding_rows=5,
            )

        predicate = predicates.CircuitRelease(
            parameters=PARAMETERS,
            digit_base=16,
            table_end=100,
            relation=circuit("relation"),
            range=circuit("range"),
            srs=Srs(sha256=digests["srs"], provenance="development"),
            engine="test 1",
        )
        return predicate, paths

    def release_model(self) -> models.GlobalModel:
        path = self.folder / "model"
        path.write_bytes(b"model")
        predicate = predicates.ModelRelease(
            name="small",
            file_sha256=hashlib.sha256(b"model").hexdigest(),
            architecture={"library": "timm"},
            targets=[TargetTensor(name="a", shape=[3, 4]), TargetTensor(name="b", shape=[8])],
        )
        return releases.register_model(predicate, path, "digits", {"budget": 0.1})

    def party(self, name: str = "clinic", *, committed: bool = True) -> Party:
        party = Party(*clients.invite_client(name))
        party.enrol()
        if committed:
            self.commit(party)
        return party

    def commit(self, party: Party, **changes: Any) -> models.ClientModel:
        said = party.commitment(log.entry_ref(self.model.entry), log.entry_ref(self.circuit.entry), **changes)
        accepted = commitments.accept_commitment(party.sign(said))
        return models.ClientModel.objects.get(entry=accepted.entry)

    def approved_request(self, subject: str = "", **forget: Any) -> models.DeletionRequest:
        """A request by a person of its own; keywords replace the class as what is to be forgotten."""
        reference = {"dataset": "digits", **forget} if forget else FORGET
        request = requests.file_request("gdpr", subject or f"patient {uuid.uuid4().hex}", reference)
        return approve(request)

    def closed_window(self) -> models.Window:
        window = windows.open_window(self.model, None, [self.approved_request().uuid])
        return windows.close_window(window.uuid)

    def masked_window(self) -> models.Window:
        window = self.closed_window()
        return windows.publish_mask(window.uuid, b"mask" + window.uuid.bytes, 2, TOTAL, {"seed": 0})

    def rejected_window(self) -> models.Window:
        """Two clients, enrolled here; one was rejected, the other has not answered."""
        cheater, _silent = self.party("cheater"), self.party("quiet")
        window = self.masked_window()
        order = window.orders.get(client_model__client=cheater.row)
        proofs.record_verdict(self.proved(cheater, order).uuid, verdict(accepted=False))
        return window

    def claimed(self, party: Party, order: models.Order, attempt: int = 1) -> models.Claim:
        accepted = claims.accept_claim(party.sign(party.claim(order, attempt)))
        claim = models.Claim.objects.get(entry=accepted.entry)
        claims.draw_challenge(claim.uuid)
        return models.Claim.objects.get(entry=accepted.entry)

    def proved(self, party: Party, order: models.Order, attempt: int = 1) -> models.ProofSubmission:
        claim = self.claimed(party, order, attempt)
        accepted = proofs.accept_proof(party.sign(party.proof(claim)))
        return models.ProofSubmission.objects.get(entry=accepted.entry)


def approve(request: models.DeletionRequest) -> models.DeletionRequest:
    """Identify who asks, and approve."""
    request_steps.record_identity(request.uuid, "account-login", "verified")
    return requests.decide_request(request.uuid, "approved")


def verdict(*, accepted: bool = True) -> proofs.VerdictResult:
    """What a verifier would report."""
    failures = [] if accepted else [(1, "chunk 1: the relation does not hold")]
    return proofs.VerdictResult(accepted, failures, len(failures), 2 - len(failures), 1)


def nobody() -> str:
    """A UUID that names nothing."""
    return str(uuid.uuid4())


def refused(code: str, status: int):
    """The next call is refused with this code and status, and the log does not grow."""

    class Refusal:
        def __enter__(self) -> None:
            self.before = log.size()

        def __exit__(self, kind, error, trace) -> bool:
            assert isinstance(error, WorkflowError), f"expected a refusal, got {error!r}"
            assert (error.code, error.status) == (code, status), error.sentence
            assert log.size() == self.before
            return True

    return Refusal()
