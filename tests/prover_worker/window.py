"""A window in a log of its own: statements signed by a provider and a client, with real proofs, and no server.

Two requests, of which one is erased afterwards; one client. It hands in no proofs at its first attempt and is
rejected, and all of them at its second. Verdicts are what the verifier gives.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from datetime import UTC, datetime

from benchmarks.memory_log import ORIGIN, MemoryLog
from ledger.bundle.contents import Manifest, WindowScope
from ledger.bundle.writing import Source, write_bundle
from ledger.statements import keys, predicates
from ledger.statements.deadlines import due_at, terms_by_law
from ledger.statements.predicates.base import LogRef
from ledger.statements.predicates.certificate import Outcome
from ledger.statements.predicates.model_release import TargetTensor
from ledger.statements.predicates.verdict import Failure
from ledger.tlog import merkle, multiproof
from prover_worker import challenge
from prover_worker.bundle import ProofBundle, format_bundle
from prover_worker.verify import Verification, verify_claim
from tests.prover_worker.story import BACKEND, OTHERS, TOTAL, Claim, P, mask_file

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
WINDOW, CLIENT = (f"{digit * 8}-{digit * 4}-{digit * 4}-{digit * 4}-{digit * 12}" for digit in "ac")


class Log(MemoryLog):
    """A log in memory, and bundles of it with the proofs."""

    def bundle(self, sizes: list[int], indices: list[int] | None = None) -> bytes:
        head, note = self.checkpoint()
        indices = list(range(len(self.leaves))) if indices is None else indices
        outside = multiproof.outside(indices, head.size)
        source = Source(
            manifest=Manifest(
                scope=WindowScope(window=WINDOW), origin=ORIGIN, log_vkey=self.signer.vkey, size=head.size,
                provider_key=keys.public_hex(self.provider), entries=len(indices), proofs="included",
            ),
            checkpoint=note,
            entries=((index, self.leaves[index]) for index in indices),
            tree=[(*at, value) for at, value in zip(outside, self.tree.read(outside), strict=True)],
            consistency=lambda: {size: merkle.prove_consistency(size, head.size, self.tree) for size in sizes},
            digests=lambda: self.files,
            file=lambda digest: [self.files[digest]],
        )  # fmt: skip
        out = io.BytesIO()
        write_bundle(out, source)
        return out.getvalue()


def request(log: Log, number: int) -> tuple[str, LogRef, LogRef]:
    name = f"{number:08d}-0000-4000-8000-000000000000"
    filed = log.say(
        predicates.DeletionRequest(
            request=name, commitment=hashlib.sha256(name.encode()).hexdigest(), regulation="gdpr", received_at=NOW,
            due_at=due_at(NOW, terms_by_law("gdpr")),
        )
    )  # fmt: skip
    decided = log.say(predicates.RequestDecision(request=name, filed=filed, decision="approved", decided_at=NOW))
    return name, filed, decided


@dataclass(frozen=True)
class Window:
    """The log after the window, and a few of its entries."""

    log: Log
    data: bytes
    sizes: list[int]
    certificate: int
    verdict: int
    early: str  # the note of a checkpoint from before the window
    person: object  # the client's key

    def until(self, index: int) -> Log:
        """The log as it was before entry `index`, to go on in another way."""
        before = Log(self.log.provider, self.log.signer, files=dict(self.log.files))
        for leaf in self.log.leaves[:index]:
            before.leaves.append(leaf)
            before.tree.append(leaf)
        return before

    def ref(self, index: int) -> LogRef:
        return LogRef(index=index, leaf_hash=merkle.leaf_hash(self.log.leaves[index]).hex())


def build(claim: Claim, bundle: ProofBundle, files: dict[str, bytes]) -> Window:
    """`claim` and the range proof in `bundle` as the fixtures have them; `files`: the release's, by role."""
    log, person = Log(), keys.generate()
    client, layout = claim.client, claim.client.layout
    circuit = log.say(client.release.predicate)
    digests = client.release.predicate.file_digests()
    for role, data in files.items():
        assert log.keep(data) == digests[role]
    model = log.say(
        predicates.ModelRelease(
            name="small", file_sha256="11" * 32, architecture={}, targets=[TargetTensor(name="a", shape=[TOTAL])]
        )
    )
    log.say(predicates.ClientEnrolment(client=CLIENT, public_key=keys.public_hex(person)), person)
    early = log.checkpoint()[1]
    held = log.say(
        predicates.ModelCommitment(
            client=CLIENT, model=model, circuit=circuit, chunks=layout.chunks,
            weights_sha256=log.keep(b"".join(client.weights)), weights_root=merkle.root_of(client.weights).hex(),
            curvature_sha256=log.keep(b"".join(client.curvature)),
            curvature_root=merkle.root_of(client.curvature).hex(), other_tensors_sha256=OTHERS,
        ),
        person,
    )  # fmt: skip
    (first, first_filed, first_decided), (_, second_filed, second_decided) = request(log, 1), request(log, 2)
    closed = log.say(
        predicates.WindowClose(window=WINDOW, model=model, decisions=[first_decided, second_decided], closed_at=NOW)
    )
    mask = log.say(
        predicates.Mask(
            window=WINDOW, closed=closed, model=model, mask_sha256=log.keep(mask_file(claim.mask)),
            masked=int(claim.mask.sum()), total=TOTAL, recipe={},
        )
    )  # fmt: skip
    order = log.say(
        predicates.Order(
            order=WINDOW, window=WINDOW, client=CLIENT, commitment=held, mask=mask, circuit=circuit, due_at=NOW
        )
    )
    sizes, verdict = [], None
    for attempt in (1, 2):
        size, verdict = _attempt(log, person, claim, bundle, order, attempt)
        sizes.append(size)
    certificate = log.say(
        predicates.Certificate(
            request=first, filed=first_filed, decision=first_decided, window=closed, mask=mask,
            outcomes=[Outcome(order=order, client=CLIENT, status="met", verdict=verdict)], complete=True,
            detection="1", srs_provenance="development", proves=["the procedure"], does_not_prove=["forgetting"],
            issued_at=NOW,
        )
    )  # fmt: skip
    log.say(
        predicates.Tombstone(
            request=f"{2:08d}-0000-4000-8000-000000000000",
            filed=second_filed,
            reason="subject-asked",
            erased_at=NOW,
        )
    )
    early_size = int(early.split("\n")[1])
    return Window(
        log, log.bundle([early_size, *sizes]), [early_size, *sizes], certificate.index, verdict.index, early, person
    )


def _attempt(
    log: Log, person: object, claim: Claim, bundle: ProofBundle, order: LogRef, attempt: int
) -> tuple[int, LogRef]:
    """Claim, challenge, proof, verdict; without any proof at the first attempt."""
    records = list(claim.records.values())
    said = log.say(
        predicates.Claim(
            order=order, client=CLIENT, attempt=attempt, weights_sha256=log.keep(b"".join(claim.weights)),
            weights_root=merkle.root_of(claim.weights).hex(), solution_sha256=log.keep(b"".join(records)),
            solution_root=merkle.root_of(records).hex(), other_tensors_sha256=OTHERS,
        ),
        person,
    )  # fmt: skip
    head, note = log.checkpoint()
    drawn = log.say(predicates.Challenge(claim=said, checkpoint=note, claimed_at=NOW))
    leaf = bytes.fromhex(said.leaf_hash)
    proofs = ProofBundle({}, {})
    if attempt == 2:
        random = challenge.derive(P, head, said.index, leaf)
        proofs = ProofBundle({c: claim.prove_chunk(c, challenge=random) for c in claim.solutions}, bundle.ranges)
    handed = log.keep(format_bundle(proofs))
    proof = log.say(predicates.Proof(claim=said, challenge=drawn, client=CLIENT, bundle_sha256=handed), person)
    case = claim.case(proofs, checkpoint=head, claim_index=said.index, claim_leaf=leaf)
    return head.size, log.say(_verdict(verify_claim(case, BACKEND), proof, said, handed))


def _verdict(out: Verification, proof: LogRef, said: LogRef, handed: str) -> predicates.Verdict:
    return predicates.Verdict(
        proof=proof, claim=said, bundle_sha256=handed, result="accepted" if out.accepted else "rejected",
        failures=[Failure(chunk=chunk, reason=reason) for chunk, reason in sorted(out.failures.items())],
        failed_chunks=len(out.failures), proved_chunks=out.proved, untouched_chunks=out.untouched,
        touched_chunks=out.touched, detection="1", srs_provenance="development",
    )  # fmt: skip
