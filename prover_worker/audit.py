"""The offline verifier: checks an audit bundle without the server, believing nothing but two public keys.

    python -m prover_worker.audit BUNDLE.json [--log-vkey VKEY] [--provider-key HEX]
                                  [--witness VKEY ...] [--quorum N] [--json]

 1. the final checkpoint carries the log's signature, and cosignatures of a quorum of the witnesses given;
 2. every statement is included in it, and signed by whom it must be: the provider, or a client whose key was
    enrolled with proof of possession;
 3. events stand in order: commitment before mask before order before claim before challenge before proof before
    verdict before certificate, each referring to the right earlier one;
 4. every challenge's checkpoint is signed, covers its claim, and is a past of the final one;
 5. every file has its digest, every point file its Merkle root;
 6. every proof is verified again, and the verdict in the log says what that gave, chunk by chunk;
 7. every certificate says of each order what the verdicts say.

The keys must come from elsewhere than the bundle to mean anything; without options those inside are used and
printed. Exit status 0: everything holds; 1: something does not, and the last line names it.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import hashlib
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console

from ledger.statements import predicates as kinds
from ledger.statements.canonical import loads
from ledger.statements.dsse import Envelope
from ledger.statements.errors import StatementError
from ledger.statements.keys import public_from_hex
from ledger.statements.predicates import Predicate
from ledger.statements.predicates.base import LogRef
from ledger.statements.statement import Statement, open_statement
from ledger.tlog.checkpoint import Checkpoint, open_checkpoint
from ledger.tlog.cosignature import Quorum
from ledger.tlog.errors import TlogError
from ledger.tlog.merkle import leaf_hash, root_of, verify_consistency, verify_inclusion
from ledger.tlog.note import NoteVerifier
from prover_worker import pool
from prover_worker.backend import Backend
from prover_worker.curve import POINT_BYTES
from prover_worker.errors import AuditError, ProverError
from prover_worker.release import Release
from prover_worker.verify import Case, Verification, verify_claim

FORMAT = "unlearning-audit-bundle/v1"
Kind = TypeVar("Kind", bound=Predicate)
Say = Callable[[str], None]
_VERIFIER_ROLES = ("relation_settings", "relation_vk", "range_settings", "range_vk", "srs")


@dataclass
class Audit:
    """A bundle that is being checked: what has been established so far, by log index."""

    document: dict[str, Any]
    verifier: NoteVerifier
    provider_key: str
    head: Checkpoint
    statements: dict[int, Predicate] = field(default_factory=dict)
    refs: dict[int, LogRef] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    quorum: Quorum = field(default_factory=Quorum)
    cosignatures: dict[str, int] = field(default_factory=dict)

    def of(self, kind: type[Kind]) -> Iterator[tuple[int, Kind]]:
        """All statements of a kind, in log order."""
        for index in sorted(self.statements):
            predicate = self.statements[index]
            if isinstance(predicate, kind):
                yield index, predicate

    def get(self, ref: LogRef, kind: type[Kind], by: str) -> Kind:
        """The statement that another one refers to. Raises AuditError."""
        predicate = self.statements.get(ref.index)
        if predicate is None or self.refs[ref.index] != ref:
            raise AuditError(f"{by} refers to log entry {ref.index}, which is not in the bundle as it says")
        if not isinstance(predicate, kind):
            raise AuditError(f"{by} refers to log entry {ref.index} as a {kind.slug}; it is a {predicate.slug}")
        return predicate

    def blob(self, digest: str, what: str) -> bytes:
        """A file of the bundle. Raises AuditError."""
        if digest not in self.blobs:
            raise AuditError(f"the bundle lacks {what}, SHA-256 {digest}")
        return self.blobs[digest]


def open_bundle(
    data: bytes, vkey: str | None = None, provider_key: str | None = None, quorum: Quorum | None = None
) -> Audit:
    """Steps 1, 2 and the digests of step 5. Raises AuditError naming the first thing that does not hold."""
    try:
        document = loads(data, "the audit bundle")
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise AuditError(f"this is no audit bundle of format {FORMAT}")
        verifier = NoteVerifier.parse(vkey or document["logVkey"])
        head = open_checkpoint(document["checkpoint"], verifier, document["origin"])
        audit = Audit(document, verifier, provider_key or document["providerKey"], head)
        if quorum:
            audit.quorum, audit.cosignatures = quorum, quorum.check(document["checkpoint"])
        for digest, text in document["blobs"].items():
            audit.blobs[digest] = base64.b64decode(text, validate=True)
            if hashlib.sha256(audit.blobs[digest]).hexdigest() != digest:
                raise AuditError(f"the file called {digest} has another SHA-256")
        _read_entries(audit)
    except (KeyError, TypeError, AttributeError, binascii.Error) as error:
        raise AuditError(f"the audit bundle is malformed: {type(error).__name__} {error}") from error
    except (TlogError, StatementError) as error:
        raise AuditError(str(error)) from error
    return audit


def _read_entries(audit: Audit) -> None:
    """Step 2. Enrolments come first in the log, so a client's key is known when its statements are met."""
    client_keys: dict[str, str] = {}
    for entry in sorted(audit.document["entries"], key=lambda item: item["index"]):
        index, raw = entry["index"], base64.b64decode(entry["envelope"], validate=True)
        proof = [base64.b64decode(node, validate=True) for node in entry["proof"]]
        verify_inclusion(leaf_hash(raw), index, audit.head.size, proof, audit.head.root)
        envelope = Envelope.parse(raw)
        claimed = Statement.decode(envelope.payload).predicate  # unverified: tells only whose key to use
        if isinstance(claimed, kinds.ClientEnrolment):
            key = client_keys.setdefault(claimed.client, claimed.public_key)
        elif isinstance(claimed, kinds.ModelCommitment | kinds.Claim | kinds.Proof):
            if claimed.client not in client_keys:
                raise AuditError(f"log entry {index} is by client {claimed.client}, which was not enrolled before")
            key = client_keys[claimed.client]
        else:
            key = audit.provider_key
        try:
            audit.statements[index] = open_statement(envelope, public_from_hex(key)).predicate
        except StatementError as error:
            raise AuditError(
                f"log entry {index} ({claimed.slug}) is not signed by whom it must be: {error}"
            ) from error
        audit.refs[index] = LogRef(index=index, leaf_hash=leaf_hash(raw).hex())


def check_order(audit: Audit) -> None:
    """Step 3: every reference points backwards, at the right kind, and the chain of each order is unbroken."""
    for index, predicate in audit.statements.items():
        for ref in _references(predicate):
            if ref.index >= index:
                raise AuditError(f"log entry {index} ({predicate.slug}) refers to a later entry, {ref.index}")
    for index, decision in audit.of(kinds.RequestDecision):
        filed = audit.get(decision.filed, kinds.DeletionRequest, f"decision {index}")
        _same(filed.request, decision.request, f"decision {index} is about another request than it refers to")
    for index, window in audit.of(kinds.WindowClose):
        audit.get(window.model, kinds.ModelRelease, f"window {index}")
        for ref in window.decisions:
            decision = audit.get(ref, kinds.RequestDecision, f"window {index}")
            _same(decision.decision, "approved", f"window {index} holds a request that was not approved")
    for index, mask in audit.of(kinds.Mask):
        closed = audit.get(mask.closed, kinds.WindowClose, f"mask {index}")
        _same((closed.window, closed.model), (mask.window, mask.model), f"mask {index} is not of its window")
    for index, order in audit.of(kinds.Order):
        _check_one_order(audit, index, order)


def _check_one_order(audit: Audit, index: int, order: kinds.Order) -> None:
    by = f"order {index}"
    commitment = audit.get(order.commitment, kinds.ModelCommitment, by)
    mask = audit.get(order.mask, kinds.Mask, by)
    if not order.commitment.index < order.mask.index < index:
        raise AuditError(f"{by}: commitment, mask and order stand at {order.commitment.index}, {order.mask.index}, "
                         f"{index}; the commitment must come before the mask")  # fmt: skip
    _same(commitment.client, order.client, f"{by} is about another client's commitment")
    _same(commitment.circuit, order.circuit, f"{by} names another circuit release than the commitment")
    _same((mask.window, mask.model), (order.window, commitment.model), f"{by} mixes windows or models")
    attempts = [(i, claim) for i, claim in audit.of(kinds.Claim) if claim.order == audit.refs[index]]
    for number, (i, claim) in enumerate(attempts, start=1):
        _same((claim.client, claim.attempt), (order.client, number), f"claim {i} is not attempt {number} of {by}")
        _settled_before(audit, number, attempts)


def _settled_before(audit: Audit, number: int, attempts: list[tuple[int, kinds.Claim]]) -> None:
    """A new attempt may only follow the rejection of the one before: nobody draws a challenge twice."""
    if number == 1:
        return
    (before, _), (index, _) = attempts[number - 2], attempts[number - 1]
    rejected = [i for i, v in audit.of(kinds.Verdict) if v.claim.index == before and v.result == "rejected"]
    if not any(before < i < index for i in rejected):
        raise AuditError(f"claim {index} follows claim {before} without its rejection in between")


def check_challenges(audit: Audit) -> dict[int, Checkpoint]:
    """Step 4. Returns each claim's checkpoint by the claim's log index."""
    proofs = {item["size"]: item["proof"] for item in audit.document["consistency"]}
    found: dict[int, Checkpoint] = {}
    for index, challenge in audit.of(kinds.Challenge):
        audit.get(challenge.claim, kinds.Claim, f"challenge {index}")
        try:
            past = open_checkpoint(challenge.checkpoint, audit.verifier, audit.head.origin)
            Quorum(audit.quorum.witnesses).check(challenge.checkpoint)  # older than a witness, perhaps; never wrong
            nodes = [base64.b64decode(node, validate=True) for node in proofs.get(past.size, [])]
            verify_consistency(past.size, past.root, audit.head.size, audit.head.root, nodes)
        except (TlogError, binascii.Error) as error:
            raise AuditError(f"the checkpoint of challenge {index} does not check out: {error}") from error
        if not challenge.claim.index < past.size <= index:
            raise AuditError(f"challenge {index} uses a checkpoint of size {past.size}: it must cover claim "
                             f"{challenge.claim.index} and precede the challenge")  # fmt: skip
        if challenge.claim.index in found:
            raise AuditError(f"challenge {index} is the second one for claim {challenge.claim.index}")
        found[challenge.claim.index] = past
    return found


def check_roots(audit: Audit) -> None:
    """Step 5: point files against the roots that were logged."""
    for index, said in audit.of(kinds.ModelCommitment):
        p = audit.get(said.circuit, kinds.CircuitRelease, f"commitment {index}").parameters
        _root(audit, said.weights_sha256, said.weights_root, 1, f"commitment {index}")
        _root(audit, said.curvature_sha256, said.curvature_root, p.rank + p.block_size, f"commitment {index}")
    for index, claim in audit.of(kinds.Claim):
        _root(audit, claim.weights_sha256, claim.weights_root, 1, f"claim {index}")
        _root(audit, claim.solution_sha256, claim.solution_root, 2, f"claim {index}")


def _root(audit: Audit, digest: str, root: str, points: int, by: str) -> None:
    data, size = audit.blob(digest, f"a point file of {by}"), points * POINT_BYTES
    records = [data[i : i + size] for i in range(0, len(data), size)]
    if len(data) % size or root_of(records).hex() != root:
        raise AuditError(f"a point file of {by} does not have the Merkle root that was logged")


def check_proofs(
    audit: Audit, backend: Backend, challenges: dict[int, Checkpoint], say: Say
) -> list[tuple[str, Verification]]:
    """Step 6: verify everything again and compare with the logged verdicts."""
    verdicts = {verdict.proof.index: (index, verdict) for index, verdict in audit.of(kinds.Verdict)}
    proofs = list(audit.of(kinds.Proof))
    checked: dict[int, Verification] = {}
    with tempfile.TemporaryDirectory(prefix="audit-") as folder:
        releases: dict[int, Release] = {}

        def cases() -> Iterator[tuple[Case, Backend]]:
            for index, proof in proofs:
                if index not in verdicts:
                    raise AuditError(f"proof {index} was submitted, but no verdict on it is in the log")
                yield _case(audit, index, proof, challenges, releases, Path(folder)), backend

        for number, outcome in pool.run(verify_claim, cases(), 1):
            index, proof = proofs[number]
            _compare(outcome, *verdicts[index], audit)
            state = "accepted" if outcome.accepted else f"rejected, {len(outcome.failures)} failures"
            say(f"proof {index} of client {proof.client[:8]}: {state}, as the log's verdict says")
            checked[number] = outcome
    return [(proof.client, checked[number]) for number, (_, proof) in enumerate(proofs)]


def _case(
    audit: Audit, index: int, proof: kinds.Proof, challenges: dict[int, Checkpoint], releases: dict[int, Release],
    folder: Path,
) -> Case:  # fmt: skip
    by = f"proof {index}"
    claim = audit.get(proof.claim, kinds.Claim, by)
    order = audit.get(claim.order, kinds.Order, by)
    commitment = audit.get(order.commitment, kinds.ModelCommitment, by)
    mask = audit.get(order.mask, kinds.Mask, by)
    model = audit.get(commitment.model, kinds.ModelRelease, by)
    challenge = audit.get(proof.challenge, kinds.Challenge, by)
    _same(claim.client, proof.client, f"{by} is by another client than its claim")
    _same(challenge.claim, proof.claim, f"{by} answers a challenge of another claim")
    circuit = audit.get(order.circuit, kinds.CircuitRelease, by)
    if order.circuit.index not in releases:
        releases[order.circuit.index] = _open_release(audit, circuit, folder / str(order.circuit.index))
    return Case(
        release=releases[order.circuit.index],
        total=sum(_size(target.shape) for target in model.targets),
        weights=audit.blob(commitment.weights_sha256, "committed weights"),
        curvature=audit.blob(commitment.curvature_sha256, "committed curvature"),
        other_tensors=commitment.other_tensors_sha256,
        mask=audit.blob(mask.mask_sha256, "the mask"),
        claim_weights=audit.blob(claim.weights_sha256, "claimed weights"),
        solution=audit.blob(claim.solution_sha256, "the solution's points"),
        claim_other_tensors=claim.other_tensors_sha256,
        checkpoint=challenges[proof.claim.index],
        claim_index=proof.claim.index,
        claim_leaf=bytes.fromhex(proof.claim.leaf_hash),
        bundle=audit.blob(proof.bundle_sha256, "the proof bundle"),
    )


def _open_release(audit: Audit, circuit: kinds.CircuitRelease, folder: Path) -> Release:
    folder.mkdir()
    digests = circuit.file_digests()
    paths = {role: folder / role for role in _VERIFIER_ROLES}
    for role, path in paths.items():
        path.write_bytes(audit.blob(digests[role], f"the circuit release's {role}"))
    return Release.open_for_verifying(circuit, paths)


def _compare(outcome: Verification, index: int, verdict: kinds.Verdict, audit: Audit) -> None:
    """The log's verdict must be what verification gives now."""
    got = "accepted" if outcome.accepted else "rejected"
    _same(verdict.result, got, f"verdict {index} says {verdict.result}, but verification gives {got}")
    chunks = sorted(chunk for chunk in outcome.failures if chunk is not None)
    _same(verdict.failed_chunks, len(chunks), f"verdict {index} counts other failing chunks than verification")
    named = [failure.chunk for failure in verdict.failures if failure.chunk is not None]
    _same(named, chunks[: len(named)], f"verdict {index} names other failing chunks than verification")
    _same(outcome.proved, verdict.proved_chunks, f"verdict {index} counts other proved chunks than verification")
    proof = audit.get(verdict.proof, kinds.Proof, f"verdict {index}")
    _same((proof.claim, proof.bundle_sha256), (verdict.claim, verdict.bundle_sha256),
          f"verdict {index} is about another claim or bundle than its proof")  # fmt: skip


def check_certificates(audit: Audit) -> int:
    """Step 7. Returns how many certificates there are."""
    number = 0
    for index, certificate in audit.of(kinds.Certificate):
        mask = audit.get(certificate.mask, kinds.Mask, f"certificate {index}")
        audit.get(certificate.filed, kinds.DeletionRequest, f"certificate {index}")
        expected = {i for i, order in audit.of(kinds.Order) if order.window == mask.window}
        _same({outcome.order.index for outcome in certificate.outcomes}, expected,
              f"certificate {index} does not list exactly the orders of its window")  # fmt: skip
        for outcome in certificate.outcomes:
            _check_outcome(audit, index, outcome)
        number += 1
    return number


def _check_outcome(audit: Audit, index: int, outcome: Any) -> None:
    verdicts = [
        (i, v) for i, v in audit.of(kinds.Verdict)
        if audit.get(v.claim, kinds.Claim, f"verdict {i}").order == outcome.order and i < index
    ]  # fmt: skip
    last = verdicts[-1] if verdicts else None
    words = {"accepted": "met", "rejected": "rejected"}
    expected = words[last[1].result] if last else "unanswered"
    _same(outcome.status, expected, f"certificate {index} says {outcome.status} where the verdicts say {expected}")
    if last and outcome.verdict != audit.refs[last[0]]:
        raise AuditError(f"certificate {index} does not refer to the last verdict, at log index {last[0]}")


def run(
    data: bytes, backend: Backend, vkey: str | None, provider_key: str | None, say: Say, warn: Say,
    quorum: Quorum | None = None,
) -> dict[str, Any]:  # fmt: skip
    """All steps. Returns figures; raises AuditError naming the first thing that does not hold."""
    audit = open_bundle(data, vkey, provider_key, quorum)
    say(f"checkpoint of {audit.head.origin} at size {audit.head.size}: signature good")
    for witness, time in sorted(audit.cosignatures.items()):
        say(f"cosigned by {witness.split('+')[0]} at {datetime.fromtimestamp(time, UTC):%Y-%m-%d %H:%M:%S} UTC")
    say(
        f"{len(audit.statements)} statements: signatures and inclusion good, {len(audit.blobs)} files match digests"
    )
    check_order(audit)
    challenges = check_challenges(audit)
    check_roots(audit)
    say("order of events, references, challenges and Merkle roots good")
    checked = check_proofs(audit, backend, challenges, say)
    outcomes = [outcome for _, outcome in checked]
    certificates = check_certificates(audit)
    provenance = sorted({release.srs.provenance for _, release in audit.of(kinds.CircuitRelease)})
    say(f"{certificates} certificates agree with the verdicts")
    if "development" in provenance:
        warn("the SRS is a development one: whoever made it could have forged these proofs")
    return {
        "statements": len(audit.statements),
        "cosignatures": len(audit.cosignatures),
        "proofs": len(outcomes),
        "accepted": sum(outcome.accepted for outcome in outcomes),
        "rejected": sum(not outcome.accepted for outcome in outcomes),
        "verifications": [
            {"client": client, "chunks": outcome.proved, "seconds": round(outcome.seconds, 3)}
            for client, outcome in checked
        ],
        "certificates": certificates,
        "srs": provenance,
    }


def _references(value: Any) -> Iterator[LogRef]:
    if isinstance(value, LogRef):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _references(item)
    elif hasattr(value, "model_fields_set"):
        for name in type(value).model_fields:
            yield from _references(getattr(value, name))


def _same(got: object, wanted: object, otherwise: str) -> None:
    if got != wanted:
        raise AuditError(otherwise)


def _size(shape: Sequence[int]) -> int:
    total = 1
    for extent in shape:
        total *= extent
    return total


def main(arguments: Sequence[str] | None = None) -> int:
    """Check one bundle and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m prover_worker.audit", description="Check an audit bundle offline."
    )
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--log-vkey", help="the log's verifier key, from a source you trust")
    parser.add_argument("--provider-key", help="the provider's public key in hex, from a source you trust")
    parser.add_argument(
        "--witness", action="append", default=[], metavar="VKEY", help="verifier key of a witness you trust"
    )
    parser.add_argument("--quorum", type=int, help="how many of them must have cosigned (default: all)")
    parser.add_argument("--json", action="store_true", help="print one JSON line of figures at the end")
    options = parser.parse_args(arguments)
    from prover_worker.ezkl_backend import EzklBackend

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    if not (options.log_vkey and options.provider_key):
        console.print("! keys are taken from the bundle itself; compare them with those the provider publishes")
    try:
        figures = run(
            options.bundle.read_bytes(), EzklBackend(), options.log_vkey, options.provider_key,
            lambda text: console.print(f"✓ {text}"), lambda text: console.print(f"! {text}"),
            Quorum.parse(options.witness, options.quorum),
        )  # fmt: skip
    except (AuditError, ProverError, TlogError, OSError) as error:
        console.print(f"✗ {error}")
        return 1
    console.print("everything in the bundle holds")
    if options.json:
        print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
