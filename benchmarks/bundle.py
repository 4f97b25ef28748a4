"""`make bench B=bundle`: how fast the offline verifier reads a bundle, proofs aside.

A log is made in memory: windows of 100 clients and ten requests each, every client enrolled, committed, ordered,
challenged and accepted, with point files of the sizes that the profile `small` gives a model of eight chunks. All
of it is written into one bundle without the clients' proofs and verified as `unlearning-verify --proofs none` does:
signatures, inclusion, rules, challenges, digests, Merkle roots, masks. Half of the time is Ed25519.

The last line is JSON: `bundle_entries_per_second` with as many processes as there are cores (median of several
runs), beside it the same in one process, and what the runs cost.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import tempfile
import time
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.memory_log import ORIGIN, MemoryLog
from ledger.bundle.contents import Manifest, PeriodScope
from ledger.bundle.writing import Source, write_bundle
from ledger.statements import keys, predicates
from ledger.statements.deadlines import due_at, terms_by_law
from ledger.statements.predicates.base import LogRef
from ledger.statements.predicates.certificate import Outcome
from ledger.statements.predicates.circuit_release import ROLES, Circuit, Srs
from ledger.statements.predicates.model_release import TargetTensor
from ledger.tlog import merkle
from prover_worker.audit.command import verify
from prover_worker.audit.opening import Trust
from prover_worker.audit.proofs import Choice
from prover_worker.audit.report import Report
from prover_worker.release import SMALL
from unlearning.maskfile import format_mask

CLIENTS = 100  # of a window
REQUESTS = 10
CHUNKS = 8
TOTAL = CHUNKS * SMALL.blocks * SMALL.block_size
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@dataclass
class Log(MemoryLog):
    """A log whose challenges' checkpoints have these sizes; its point files are made up."""

    sizes: list[int] = field(default_factory=list)

    def points(self, records: int, each: int) -> tuple[str, str]:
        """A point file: digest and root. What the points are is the proofs' business."""
        parts = [os.urandom(32 * each) for _ in range(records)]
        return self.keep(b"".join(parts)), merkle.root_of(parts).hex()

    def write(self, path: Path) -> int:
        """A bundle of everything."""
        head, note = self.checkpoint()
        size = head.size
        manifest = Manifest(
            scope=PeriodScope(first=0, last=size - 1), origin=ORIGIN, log_vkey=self.signer.vkey, size=size,
            provider_key=keys.public_hex(self.provider), entries=size, proofs="digests",
        )  # fmt: skip
        source = Source(
            manifest, note, enumerate(self.leaves), [],
            lambda: {old: merkle.prove_consistency(old, size, self.tree) for old in self.sizes}, lambda: self.files,
            lambda digest: [self.files[digest]],
        )  # fmt: skip
        with path.open("wb") as out:
            return write_bundle(out, source)


def make(clients: int) -> Log:
    """The log, after windows for so many clients."""
    log = Log()
    circuit, model = _releases(log)
    for _ in range(-(-clients // CLIENTS)):
        _window(log, circuit, model)
    return log


def _releases(log: Log) -> tuple[LogRef, LogRef]:
    digests = {role: log.keep(role.encode()) for role in ROLES}
    circuits = [
        Circuit(
            settings_sha256=digests[f"{name}_settings"], vk_sha256=digests[f"{name}_vk"],
            blinding_rows=6,
        )
        for name in ("relation", "range")
    ]  # fmt: skip
    circuit = log.say(
        predicates.CircuitRelease(
            parameters=SMALL, digit_base=16_384, table_end=16_367, relation=circuits[0], range=circuits[1],
            srs=Srs(sha256=digests["srs"], provenance="development"), engine="bench",
        )
    )  # fmt: skip
    target = TargetTensor(name="a", shape=[TOTAL])
    release = predicates.ModelRelease(name="bench", file_sha256="11" * 32, architecture={}, targets=[target])
    return circuit, log.say(release)


def _window(log: Log, circuit: LogRef, model: LogRef) -> None:
    """One window from enrolment to certificates."""
    name = str(uuid.uuid4())
    parties = [(str(uuid.uuid4()), keys.generate()) for _ in range(CLIENTS)]
    held = []
    for client, key in parties:
        log.say(predicates.ClientEnrolment(client=client, public_key=keys.public_hex(key)), key)
        weights, weights_root = log.points(CHUNKS, 1)
        curvature, curvature_root = log.points(CHUNKS, SMALL.rank + SMALL.block_size)
        said = predicates.ModelCommitment(
            client=client, model=model, circuit=circuit, chunks=CHUNKS, weights_sha256=weights,
            weights_root=weights_root, curvature_sha256=curvature, curvature_root=curvature_root,
            other_tensors_sha256="22" * 32,
        )  # fmt: skip
        held.append(log.say(said, key))
    asked = [_request(log) for _ in range(REQUESTS)]
    closed = log.say(
        predicates.WindowClose(window=name, model=model, decisions=[one[2] for one in asked], closed_at=NOW)
    )
    masked = [chunk * TOTAL // CHUNKS + 5 for chunk in range(CHUNKS)]
    mask = log.say(
        predicates.Mask(
            window=name, closed=closed, model=model, mask_sha256=log.keep(format_mask(TOTAL, masked)),
            masked=CHUNKS, total=TOTAL, recipe={"window": name},
        )
    )  # fmt: skip
    orders = [
        log.say(
            predicates.Order(
                order=str(uuid.uuid4()), window=name, client=client, commitment=one, mask=mask, circuit=circuit,
                due_at=NOW,
            )
        )
        for (client, _), one in zip(parties, held, strict=True)
    ]  # fmt: skip
    _certify(log, asked, closed, mask, _answers(log, parties, orders))


def _request(log: Log) -> tuple[str, LogRef, LogRef]:
    name = str(uuid.uuid4())
    due = due_at(NOW, terms_by_law("gdpr"))
    filed = log.say(
        predicates.DeletionRequest(
            request=name, commitment=os.urandom(32).hex(), regulation="gdpr", received_at=NOW, due_at=due
        )
    )
    log.say(
        predicates.IdentityCheck(
            request=name, filed=filed, number=1, method="account-login", result="verified", checked_at=NOW
        )
    )
    decision = log.say(predicates.RequestDecision(request=name, filed=filed, decision="approved", decided_at=NOW))
    return name, filed, decision


def _answers(log: Log, parties: list[tuple[str, Any]], orders: list[LogRef]) -> list[Outcome]:
    """Claims of all clients, then challenges under one checkpoint, proofs, verdicts."""
    claims = []
    for (client, key), order in zip(parties, orders, strict=True):
        weights, weights_root = log.points(CHUNKS, 1)
        solution, solution_root = log.points(CHUNKS, 2)
        said = predicates.Claim(
            order=order, client=client, attempt=1, weights_sha256=weights, weights_root=weights_root,
            solution_sha256=solution, solution_root=solution_root, other_tensors_sha256="22" * 32,
        )  # fmt: skip
        claims.append(log.say(said, key))
    head, note = log.checkpoint()
    size = head.size
    log.sizes.append(size)
    outcomes = []
    for (client, key), order, claim in zip(parties, orders, claims, strict=True):
        challenge = log.say(predicates.Challenge(claim=claim, checkpoint=note, claimed_at=NOW))
        digest = os.urandom(32).hex()
        proof = log.say(
            predicates.Proof(claim=claim, challenge=challenge, client=client, bundle_sha256=digest), key
        )
        verdict = log.say(
            predicates.Verdict(
                proof=proof, claim=claim, bundle_sha256=digest, result="accepted", proved_chunks=CHUNKS,
                untouched_chunks=0, touched_chunks=CHUNKS, detection="1", srs_provenance="development",
            )
        )  # fmt: skip
        outcomes.append(Outcome(order=order, client=client, status="met", verdict=verdict))
    return outcomes


def _certify(
    log: Log, asked: list[tuple[str, LogRef, LogRef]], closed: LogRef, mask: LogRef, outcomes: list[Outcome]
) -> None:
    listed = log.say(predicates.WindowOutcomes(window=closed, mask=mask, number=1, outcomes=outcomes))
    for request, filed, decision in asked:
        log.say(
            predicates.Certificate(
                request=request, filed=filed, decision=decision, window=closed, mask=mask, outcomes=[],
                outcomes_in=listed, complete=True, detection="1", srs_provenance="development",
                proves=["the procedure"], does_not_prove=["forgetting"], issued_at=NOW,
            )
        )  # fmt: skip


def measure(clients: int = 4_000, runs: int = 3) -> dict[str, Any]:
    """Make a bundle and verify it several times; figures as the JSON line has them."""
    log = make(clients)
    with tempfile.TemporaryDirectory(prefix="bench-bundle-") as folder:
        path = Path(folder) / "bundle.zip"
        size = log.write(path)
        trust = Trust(log.signer.vkey, keys.public_hex(log.provider))
        entries, cores = len(log.leaves), os.cpu_count() or 1
        del log
        parallel, alone = ([_verified(path, trust, jobs) for _ in range(runs)] for jobs in (cores, 1))
    rates = [entries / wall for wall, _ in parallel]
    return {
        "bundle_entries_per_second": round(statistics.median(rates)),
        "bundle_entries_per_second_best": round(max(rates)),
        "bundle_entries_per_second_one_process": round(entries / statistics.median(wall for wall, _ in alone)),
        "bundle_cpu_us_per_entry": round(1e6 * min(cpu for _, cpu in parallel) / entries, 1),
        "bundle_entries": entries,
        "bundle_megabytes": round(size / 1e6, 1),
        "bundle_peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000),
        "cores": cores,
    }


def _verified(path: Path, trust: Trust, jobs: int) -> tuple[float, float]:
    """Wall-clock and processor seconds of one verification, processes included."""
    report, wall, before = Report(), time.monotonic(), os.times()
    with path.open("rb") as file:
        verify(file, trust, Choice("none"), report, jobs=jobs)
    assert report.failed is None, report.reason
    after = os.times()
    cpu = sum(after[i] - before[i] for i in range(4))
    return time.monotonic() - wall, cpu


def main() -> None:
    """Measure, and print one JSON line."""
    parser = argparse.ArgumentParser(description="Benchmark of the offline verifier, proofs aside.")
    parser.add_argument("--clients", type=int, default=4_000)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    print(json.dumps(measure(options.clients, options.runs)))


if __name__ == "__main__":
    main()
