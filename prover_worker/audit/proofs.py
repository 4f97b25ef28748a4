"""Step 12: proofs verified again, and compared with the verdicts in the log."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from ledger.statements import predicates as kinds
from prover_worker import pool
from prover_worker.audit.cases import Cases
from prover_worker.audit.opening import Audit
from prover_worker.backend import Backend, CircuitFiles, Kind
from prover_worker.continuation import ContinuationCase, verify_continuation
from prover_worker.errors import AuditError, AuditUnavailable, ProvingFailed, VerifierBroke
from prover_worker.proof_points import first_points
from prover_worker.verify import Case, Verification, verify_claim

Say = Callable[[str], None]
AnyProof = kinds.Proof | kinds.ContinuationProof
AnyVerdict = kinds.Verdict | kinds.ContinuationVerdict


@dataclass(frozen=True)
class Choice:
    """Which proofs to verify: all, so many of them at random, only the commitments they begin with, none."""

    kind: Literal["all", "sample", "points", "none"] = "all"
    count: int = 0

    @classmethod
    def parse(cls, text: str) -> Choice:
        """From `all`, `points`, `none` or a number. Raises ValueError."""
        if text in ("all", "points", "none"):
            return cls(text)  # type: ignore[arg-type]
        if text.isascii() and text.isdecimal() and int(text[:9]) > 0 and len(text) < 9:
            return cls("sample", int(text))
        raise ValueError(f"got {text[:20]!r}, expected all, none, points, or how many proofs to verify")


@dataclass(frozen=True)
class _PointsOnly:
    """A backend that reads the commitments of a proof and believes the rest."""

    def verify(self, _kind: Kind, _files: CircuitFiles, _proof: bytes) -> bool:
        return True

    def points(self, proof: bytes, count: int) -> list[tuple[int, int]]:
        return first_points(proof, count)


@dataclass(frozen=True)
class _Task:
    """A proof in the log with the verdict on it."""

    index: int
    proof: AnyProof
    at: int
    verdict: AnyVerdict


def check_proofs(cases: Cases, choice: Choice, say: Say, jobs: int = 1) -> None:
    """Raises AuditError: a verdict is missing, or is not what verification gives; AuditUnavailable."""
    audit = cases.audit
    with audit.report.step("proofs"):
        tasks = list(_tasks(audit))
        if not tasks:
            audit.report.say("proofs", "none was handed in", "nothing to check")
            return
        if choice.kind == "none":
            audit.report.say("proofs", f"{len(tasks)} were not verified again, as you asked", "not checked")
            audit.report.unchecked.append(
                f"the {len(tasks)} zero-knowledge proofs: the verdicts on them are believed"
            )
            return
        if audit.manifest.proofs == "digests":
            raise AuditUnavailable(
                "the bundle leaves the proofs out: ask for one with proofs=included, or do without (--proofs none)"
            )
        chosen = _chosen(tasks, choice)
        backend = _backend(choice)
        outcomes = _verified(cases, chosen, backend, say, jobs, strict=choice.kind != "points")
        _conclude(audit, tasks, chosen, outcomes, choice)


def _tasks(audit: Audit) -> Iterator[_Task]:
    """Every proof in the log with its verdict. Raises AuditError for one without."""
    said: list[tuple[int, AnyVerdict]] = [*audit.of(kinds.Verdict), *audit.of(kinds.ContinuationVerdict)]
    verdicts = {verdict.proof.index: (at, verdict) for at, verdict in said}
    handed_in: list[tuple[int, AnyProof]] = [*audit.of(kinds.Proof), *audit.of(kinds.ContinuationProof)]
    for index, proof in sorted(handed_in, key=lambda pair: pair[0]):
        if index not in verdicts:
            raise AuditError(f"proof {index} was submitted, but no verdict on it is in the log")
        yield _Task(index, proof, *verdicts[index])


def _chosen(tasks: Sequence[_Task], choice: Choice) -> list[_Task]:
    if choice.kind == "points":  # a rejection may be for what only the whole proof shows
        return [task for task in tasks if task.verdict.result == "accepted"]
    if choice.kind == "all" or choice.count >= len(tasks):
        return list(tasks)
    picked = random.SystemRandom().sample(range(len(tasks)), choice.count)
    return [tasks[number] for number in sorted(picked)]


def _backend(choice: Choice) -> Backend:
    if choice.kind == "points":
        return _PointsOnly()  # type: ignore[return-value] # what only provers use is not asked for
    try:
        from prover_worker.ezkl_backend import EzklBackend
    except ImportError as error:
        raise AuditUnavailable(
            "verifying proofs needs ezkl: pip install 'unlearning-ledger[proofs]', or use --proofs points or none"
        ) from error
    return EzklBackend()


def _verified(
    cases: Cases, tasks: Sequence[_Task], backend: Backend, say: Say, jobs: int, *, strict: bool
) -> list[Verification]:
    """One outcome per task, each compared with its verdict, in their order however many processes there are.

    Raises AuditError at the first difference, AuditUnavailable when a process died or hung.
    """
    found: dict[int, Verification] = {}
    checked = 0
    try:
        for number, outcome in _outcomes(cases, tasks, backend, jobs):
            found[number] = outcome
            while checked in found:
                _expect_verdict(tasks[checked], found[checked], say, strict=strict)
                checked += 1
    except (ProvingFailed, VerifierBroke) as error:
        raise AuditUnavailable(
            f"proofs could not be verified, and nothing was found out about them: {error}"
        ) from error
    return [found[number] for number in range(len(tasks))]


def _outcomes(
    cases: Cases, tasks: Sequence[_Task], backend: Backend, jobs: int
) -> Iterator[tuple[int, Verification]]:
    """Claims are verified at the same time; where they are fewer than `jobs`, large ones get several processes."""
    if not tasks:
        return
    at_once = max(1, min(jobs, len(tasks)))
    each = max(1, jobs // at_once)
    yield from pool.run(_verify, ((_case(cases, task), backend, each) for task in tasks), at_once)


def _expect_verdict(task: _Task, outcome: Verification, say: Say, *, strict: bool) -> None:
    """Raises AuditError unless this is what the log's verdict says."""
    if not strict and not outcome.accepted:
        raise AuditError(
            f"verdict {task.at} accepts proof {task.index}, whose commitments are not those of the log: "
            + "; ".join(outcome.failures.values())[:300]
        )
    if strict:
        _compare(outcome, task.at, task.verdict)
    state = "accepted" if outcome.accepted else f"rejected, {len(outcome.failures)} failures"
    about = "proof" if isinstance(task.proof, kinds.Proof) else "continuation"
    say(f"{about} {task.index} of client {task.proof.client[:8]}: {state}, as the log's verdict says")


def _case(cases: Cases, task: _Task) -> Case | ContinuationCase:
    if isinstance(task.proof, kinds.Proof):
        return cases.claim(task.index, task.proof)
    assert isinstance(task.verdict, kinds.ContinuationVerdict)
    return cases.continuation(task.proof, task.verdict)


def _verify(case: Case | ContinuationCase, backend: Backend, jobs: int) -> Verification:
    """In a process of its own, which may start others."""
    if isinstance(case, Case):
        return verify_claim(case, backend, jobs=jobs)
    return verify_continuation(case, backend, jobs=jobs)


def _conclude(
    audit: Audit, tasks: Sequence[_Task], chosen: Sequence[_Task], outcomes: Sequence[Verification], choice: Choice
) -> None:
    """Say what was verified, and what not."""
    accepted = sum(outcome.accepted for outcome in outcomes)
    audit.report.figures |= {
        "proofs": len(outcomes),
        "accepted": accepted,
        "rejected": len(outcomes) - accepted,
        "verifications": [
            {"client": task.proof.client, "chunks": outcome.proved, "seconds": round(outcome.seconds, 3)}
            for task, outcome in zip(chosen, outcomes, strict=True)
            if isinstance(task.proof, kinds.Proof)
        ],
        "continuations": sum(
            outcome.accepted for task, outcome in zip(chosen, outcomes, strict=True)
            if isinstance(task.proof, kinds.ContinuationProof)
        ),
    }  # fmt: skip
    if choice.kind == "points":
        audit.report.say("proofs", f"{len(chosen)} accepted ones begin with the commitments that log and mask give")
        audit.report.unchecked.append(
            f"whether the {len(tasks)} zero-knowledge proofs hold: only what they are about was computed again"
        )
        return
    detail = (
        f"{len(outcomes)} of {len(tasks)} verified again: {accepted} accepted, {len(outcomes) - accepted} rejected"
    )
    audit.report.say("proofs", f"{detail}, as the verdicts say")
    if len(chosen) < len(tasks):
        audit.report.unchecked.append(
            f"{len(tasks) - len(chosen)} of {len(tasks)} proofs: those verified were drawn at random"
        )


def _compare(outcome: Verification, index: int, verdict: AnyVerdict) -> None:
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


def _same(got: object, wanted: object, otherwise: str) -> None:
    if got != wanted:
        raise AuditError(otherwise)
