"""The offline verifier: checks an audit bundle without the server, believing nothing but two public keys.

    python -m prover_worker.audit BUNDLE.json [--log-vkey VKEY] [--provider-key HEX]
                                  [--witness VKEY ...] [--quorum N] [--json]

 1. the final checkpoint carries the log's signature, and cosignatures of a quorum of the witnesses given;
 2. every statement is included in it, and signed by whom it must be at its place: the provider, or a client whose
    key was enrolled with proof of possession and not revoked (ledger.statements.keyring);
 3. events stand in order: commitment before mask before order before claim before challenge before proof before
    verdict before certificate, each referring to the right earlier one (ledger.statements.rules);
 4. every challenge's checkpoint is signed, covers its claim, and is a past of the final one;
 5. every file has its digest, every point file its Merkle root;
 6. every proof is verified again, and the verdict in the log says what that gave, chunk by chunk;
    So is every proof that a later version of a model keeps the zeros of earlier windows;
 7. every certificate says of each order what the verdicts say (a rule of step 3, about verdicts checked in step 6).

The keys must come from elsewhere than the bundle to mean anything; without options those inside are used and
printed. A key that was pinned long ago will do: rotations in the log lead from it to the later ones, and back.
Exit status 0: everything holds; 1: something does not, and the last line names it.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import hashlib
import json
import math
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
from ledger.statements.errors import RuleError, StatementError
from ledger.statements.keyring import KeyRing
from ledger.statements.keys import public_hex
from ledger.statements.predicates import Predicate
from ledger.statements.predicates.base import LogRef
from ledger.statements.predicates.circuit_release import VERIFIER_ROLES
from ledger.statements.rules import Story, check, check_challenge_size
from ledger.statements.statement import Statement
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.cosignature import Quorum
from ledger.tlog.errors import TlogError
from ledger.tlog.merkle import leaf_hash, root_of, verify_consistency, verify_inclusion
from ledger.tlog.note import NoteVerifier
from prover_worker import pool
from prover_worker.backend import Backend
from prover_worker.continuation import ContinuationCase, verify_continuation
from prover_worker.curve import POINT_BYTES
from prover_worker.drawing import draw_of
from prover_worker.errors import AuditError, ProverError
from prover_worker.release import Release
from prover_worker.verify import Case, Verification, verify_claim

FORMAT = "unlearning-audit-bundle/v1"
Kind = TypeVar("Kind", bound=Predicate)
Say = Callable[[str], None]


@dataclass
class Audit:
    """A bundle that is being checked: what has been established so far, by log index."""

    document: dict[str, Any]
    ring: KeyRing
    head: Checkpoint
    story: Story = field(default_factory=lambda: Story("the bundle", whole=False))
    blobs: dict[str, bytes] = field(default_factory=dict)
    quorum: Quorum = field(default_factory=Quorum)
    cosignatures: dict[str, int] = field(default_factory=dict)

    @property
    def statements(self) -> dict[int, Predicate]:
        """What every entry says, by log index."""
        return self.story.statements

    def of(self, kind: type[Kind]) -> Iterator[tuple[int, Kind]]:
        """All statements of a kind, in log order."""
        for index, predicate in self.story.statements.items():
            if isinstance(predicate, kind):
                yield index, predicate

    def get(self, ref: LogRef, kind: type[Kind], by: str) -> Kind:
        """The statement that another one refers to. Raises AuditError."""
        try:
            return self.story.get(ref, kind, by)
        except RuleError as error:
            raise AuditError(str(error)) from error

    def blob(self, digest: str, what: str) -> bytes:
        """A file of the bundle. Raises AuditError."""
        if digest not in self.blobs:
            raise AuditError(f"the bundle lacks {what}, SHA-256 {digest}")
        return self.blobs[digest]


def open_bundle(
    data: bytes, vkey: str | None = None, provider_key: str | None = None, quorum: Quorum | None = None
) -> Audit:
    """Steps 1 to 3 and the digests of step 5. Raises AuditError naming the first thing that does not hold."""
    try:
        document = loads(data, "the audit bundle")
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise AuditError(f"this is no audit bundle of format {FORMAT}")
        rotations = _rotations(document)
        log_key = public_hex(NoteVerifier.parse(vkey or document["logVkey"]).public_key)
        ring = KeyRing.rooted(provider_key or document["providerKey"], log_key, rotations)
        head = ring.after(rotations).open_checkpoint(document["checkpoint"], document["origin"])
        audit = Audit(document, ring, head)
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


def _rotations(document: dict[str, Any]) -> list[tuple[int, Envelope]]:
    """The bundle's key rotations, not verified yet: they lead to the key that signed the checkpoint."""
    found = []
    for entry in sorted(document["entries"], key=lambda item: item["index"]):
        try:
            envelope = Envelope.parse(base64.b64decode(entry["envelope"], validate=True))
            if isinstance(Statement.decode(envelope.payload).predicate, kinds.KeyRotation):
                found.append((entry["index"], envelope))
        except StatementError:
            continue  # whatever it is, step 2 names it
    return found


def _read_entries(audit: Audit) -> None:
    """Steps 2 and 3, entry by entry in log order: the key ring and the rules know what came before each."""
    for entry in sorted(audit.document["entries"], key=lambda item: item["index"]):
        index, raw = entry["index"], base64.b64decode(entry["envelope"], validate=True)
        proof = [base64.b64decode(node, validate=True) for node in entry["proof"]]
        leaf = leaf_hash(raw)
        verify_inclusion(leaf, index, audit.head.size, proof, audit.head.root)
        predicate = audit.ring.open(index, Envelope.parse(raw))
        check(audit.story, index, predicate)
        audit.story.add(index, leaf, predicate)


def check_challenges(audit: Audit) -> dict[int, Checkpoint]:
    """Step 4. Returns the checkpoint of each challenged claim or commitment by its log index."""
    proofs = {item["size"]: item["proof"] for item in audit.document["consistency"]}
    found: dict[int, Checkpoint] = {}
    drawn: list[tuple[int, kinds.Challenge | kinds.ContinuationChallenge]] = [
        *audit.of(kinds.Challenge), *audit.of(kinds.ContinuationChallenge),
    ]  # fmt: skip
    for index, challenge in drawn:
        try:
            past = audit.ring.open_checkpoint(challenge.checkpoint, audit.head.origin)
            Quorum(audit.quorum.witnesses).check(challenge.checkpoint)  # older than a witness, perhaps; never wrong
            nodes = [base64.b64decode(node, validate=True) for node in proofs.get(past.size, [])]
            verify_consistency(past.size, past.root, audit.head.size, audit.head.root, nodes)
        except (TlogError, binascii.Error) as error:
            raise AuditError(f"the checkpoint of challenge {index} does not check out: {error}") from error
        _allow(check_challenge_size, index, challenge, past.size)
        about = challenge.claim if isinstance(challenge, kinds.Challenge) else challenge.commitment
        found[about.index] = past
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
            _compare(outcome, *verdicts[index])
            state = "accepted" if outcome.accepted else f"rejected, {len(outcome.failures)} failures"
            say(f"proof {index} of client {proof.client[:8]}: {state}, as the log's verdict says")
            checked[number] = outcome
    return [(proof.client, checked[number]) for number, (_, proof) in enumerate(proofs)]


def check_continuations(audit: Audit, backend: Backend, challenges: dict[int, Checkpoint], say: Say) -> int:
    """Step 6 for models that continue unlearned ones. Returns how many have shown that they keep the zeros."""
    verdicts = {said.proof.index: (index, said) for index, said in audit.of(kinds.ContinuationVerdict)}
    shown = 0
    with tempfile.TemporaryDirectory(prefix="audit-") as folder:
        for index, proof in audit.of(kinds.ContinuationProof):
            if index not in verdicts:
                raise AuditError(f"continuation {index} was submitted, but no verdict on it is in the log")
            at, verdict = verdicts[index]
            case = _continuation(audit, proof, verdict, challenges, Path(folder) / str(index))
            outcome = next(result for _, result in pool.run(verify_continuation, [(case, backend)], 1))
            _compare(outcome, at, verdict)
            shown += outcome.accepted
            state = "keeps the zeros of earlier windows" if outcome.accepted else "does not show its zeros"
            say(f"commitment {proof.commitment.index} of client {proof.client[:8]} {state}, as the verdict says")
    return shown


def _continuation(
    audit: Audit, proof: kinds.ContinuationProof, verdict: kinds.ContinuationVerdict,
    challenges: dict[int, Checkpoint], folder: Path,
) -> ContinuationCase:  # fmt: skip
    by = f"the continuation of commitment {proof.commitment.index}"
    held = audit.get(proof.commitment, kinds.ModelCommitment, by)
    model = audit.get(held.model, kinds.ModelRelease, by)
    masks = [audit.get(ref, kinds.Mask, by) for ref in verdict.masks]
    return ContinuationCase(
        release=_open_release(audit, audit.get(held.circuit, kinds.CircuitRelease, by), folder),
        total=sum(math.prod(target.shape) for target in model.targets),
        weights=audit.blob(held.weights_sha256, "committed weights"),
        curvature=audit.blob(held.curvature_sha256, "committed curvature"),
        masks=[audit.blob(mask.mask_sha256, "an earlier mask") for mask in masks],
        checkpoint=challenges[proof.commitment.index],
        index=proof.commitment.index,
        leaf=bytes.fromhex(proof.commitment.leaf_hash),
        proofs=audit.blob(proof.bundle_sha256, "a continuation's proofs"),
    )


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
    circuit = audit.get(order.circuit, kinds.CircuitRelease, by)
    if order.circuit.index not in releases:
        releases[order.circuit.index] = _open_release(audit, circuit, folder / str(order.circuit.index))
    return Case(
        release=releases[order.circuit.index],
        total=sum(math.prod(target.shape) for target in model.targets),
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
        draw=draw_of(order, claim.attempt, audit.get(proof.challenge, kinds.Challenge, by)),
    )


def _open_release(audit: Audit, circuit: kinds.CircuitRelease, folder: Path) -> Release:
    folder.mkdir()
    digests = circuit.file_digests()
    paths = {role: folder / role for role in VERIFIER_ROLES}
    for role, path in paths.items():
        path.write_bytes(audit.blob(digests[role], f"the circuit release's {role}"))
    return Release.open_for_verifying(circuit, paths)


def _compare(outcome: Verification, index: int, verdict: kinds.Verdict | kinds.ContinuationVerdict) -> None:
    """The log's verdict must be what verification gives now."""
    got = "accepted" if outcome.accepted else "rejected"
    _same(verdict.result, got, f"verdict {index} says {verdict.result}, but verification gives {got}")
    chunks = sorted(chunk for chunk in outcome.failures if chunk is not None)
    _same(verdict.failed_chunks, len(chunks), f"verdict {index} counts other failing chunks than verification")
    named = [failure.chunk for failure in verdict.failures if failure.chunk is not None]
    _same(named, chunks[: len(named)], f"verdict {index} names other failing chunks than verification")
    _same(outcome.proved, verdict.proved_chunks, f"verdict {index} counts other proved chunks than verification")
    if isinstance(verdict, kinds.ContinuationVerdict):
        return
    touched = outcome.touched if verdict.touched_chunks is None else verdict.touched_chunks
    _same(outcome.touched, touched, f"verdict {index} counts other touched chunks than verification")


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
    challenges = check_challenges(audit)
    check_roots(audit)
    say("order of events, references, challenges and Merkle roots good")
    checked = check_proofs(audit, backend, challenges, say)
    continued = check_continuations(audit, backend, challenges, say)
    outcomes = [outcome for _, outcome in checked]
    certificates = sum(1 for _ in audit.of(kinds.Certificate))
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
        "continuations": continued,
        "certificates": certificates,
        "srs": provenance,
    }


def _allow(rule: Callable[..., None], *arguments: Any) -> None:
    try:
        rule(*arguments)
    except RuleError as error:
        raise AuditError(str(error)) from error


def _same(got: object, wanted: object, otherwise: str) -> None:
    if got != wanted:
        raise AuditError(otherwise)


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
