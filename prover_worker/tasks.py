"""Celery tasks: take the job, load the case, call one function, hand the result to the workflow.

Every task can run twice without harm: the job row decides who works, and the workflow's functions know what was
done before. torch and ezkl are imported inside, so that a worker's parent process stays small.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ledger import queue, traces
from ledger.log import NotCosignedError
from ledger.passing import what_is_away
from ledger.queue import app
from ledger.workflow import bulk as many
from ledger.workflow import claims, continuations, housekeeping, imports, jobs, proofs, windows
from ledger.workflow import webhooks as outgoing
from ledger.workflow.errors import WorkflowError

if TYPE_CHECKING:
    from ledger.models import Job
    from prover_worker.verify import Case, Verification

logger = logging.getLogger(__name__)

_NOT_AGAIN: Final = 71  # exit status of a worker's process


@app.task(name=queue.TASK_MASK)
def mask(job_id: str) -> None:
    """Compute a closed window's mask and issue its orders."""
    _work(job_id, _mask)


@app.task(name=queue.TASK_CHALLENGE)
def challenge(job_id: str) -> None:
    """Let the log fix a claim's challenge."""
    _work(job_id, lambda job: claims.draw_challenge(job.target))


@app.task(name=queue.TASK_VERIFY)
def verify(job_id: str) -> None:
    """Verify a proof and log the verdict."""
    _work(job_id, _verify)


@app.task(name=queue.TASK_LINE_CHALLENGE)
def line_challenge(job_id: str) -> None:
    """Let the log fix the challenge of a commitment that continues a model."""
    _work(job_id, lambda job: continuations.draw_challenge(job.target))


@app.task(name=queue.TASK_LINE_VERIFY)
def line_verify(job_id: str) -> None:
    """Verify that a later version of a model keeps its zeros, and log the verdict."""
    _work(job_id, _line_verify)


@app.task(name=queue.TASK_IMPORT)
def import_requests(job_id: str) -> None:
    """File the requests of a large file."""
    _work(job_id, _import)


@app.task(name=queue.TASK_EXPORT)
def export(job_id: str) -> None:
    """Make an audit report, log its digest, keep the file for a while."""
    _work(job_id, _export)


@app.task(name=queue.TASK_BULK)
def bulk(job_id: str) -> None:
    """Carry out an officer's action on many rows."""
    _work(job_id, _bulk)


@app.task(name=queue.TASK_SWEEP)
def sweep() -> None:
    """Publish what is new in the log; wake workers for jobs left lying."""
    jobs.sweep()


@app.task(name=queue.TASK_WEBHOOKS)
def webhooks() -> None:
    """Post events to those who want to hear of them."""
    outgoing.fan_out()
    outgoing.deliver_due()


@app.task(name=queue.TASK_FSCK)
def fsck() -> None:
    """Check the whole log and every table against it; what is wrong becomes an alarm. Tidy up once a day."""
    from ledger.fsck.run import check_and_record

    check_and_record()
    housekeeping.tidy_files()


def _work(job_id: str, function: Callable[[Job], object]) -> None:
    """Run one job under its lease. What the input is to blame for is final; what passes by itself is no attempt;
    anything else is tried again, by a new process: what this one lacks, as memory or threads, it may lack for ever.
    """
    from prover_worker.errors import ProverError
    from unlearning.errors import UnlearningError

    job = queue.claim_job(job_id)
    if job is None:
        return
    try:
        with queue.held(job):
            function(job)
    except NotCosignedError as error:
        queue.postpone(job_id, str(error))
    except (WorkflowError, ProverError, UnlearningError) as error:
        traces.went_wrong(error)
        queue.fail(job_id, str(error))
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # panics of Rust code are no Exceptions
        away = what_is_away(error)
        if away is not None:
            logger.error("ALARM: the %s failed: %s", away, error)  # noqa: TRY400 - nothing of ours is wrong
            queue.postpone(job_id, f"the {away} is away or full: {error}")
            return
        logger.exception("job %s", job_id)
        traces.went_wrong(error)
        queue.fail(job_id, f"{type(error).__name__}: {error}", retry=True)
        raise SystemExit(_NOT_AGAIN) from error
    else:
        queue.finish(job_id)
        jobs.publish_new_entries()


def _mask(job: Job) -> None:
    from prover_worker.directing import expect_provable
    from unlearning.recipe import compute_mask

    case = windows.mask_case(job.target)

    def report(fraction: float, message: str) -> None:
        queue.report_progress(job.uuid, fraction, message)

    made = compute_mask(case.architecture, case.model_path, case.config, report)
    if made.directions_file is not None:
        for circuit in windows.circuits_committed_under(job.target):
            if circuit.parameters.directions:
                expect_provable(made.directions_file, made.file, circuit.parameters, circuit.table_end)
    windows.publish_mask(job.target, made.file, len(made.indices), made.total, made.recipe, made.directions_file)


def _import(job: Job) -> None:
    def report(done: int, total: int) -> None:
        queue.report_progress(job.uuid, done / total, f"{done} of {total} lines read")

    imports.run_import(job.target, report)


def _bulk(job: Job) -> None:
    def report(done: int, total: int) -> None:
        queue.report_progress(job.uuid, done / total, f"{done} of {total} rows")

    many.carry_out(job.target, report)


def _export(job: Job) -> None:
    from ledger.reports.make import run_export

    run_export(job.target, lambda fraction, words: queue.report_progress(job.uuid, fraction, words))


def _line_verify(job: Job) -> None:
    from ledger.tlog.checkpoint import Checkpoint
    from prover_worker.continuation import ContinuationCase, verify_continuation
    from prover_worker.ezkl_backend import EzklBackend
    from prover_worker.release import Release

    stored = continuations.continuation_task(job.target)
    case = ContinuationCase(
        release=Release.open(stored.circuit, stored.circuit_paths),
        total=stored.total_weights,
        weights=_stored(stored.weights),
        curvature=_stored(stored.curvature),
        masks=[_stored(path) for path in stored.masks],
        checkpoint=Checkpoint(stored.checkpoint_origin, stored.checkpoint_size, stored.checkpoint_root),
        index=stored.commitment_ref.index,
        leaf=bytes.fromhex(stored.commitment_ref.leaf_hash),
        proofs=_stored(stored.bundle),
    )
    outcome = verify_continuation(case, EzklBackend(), _reporter(job), queue.verifying_processes())
    continuations.record_continuation(job.target, _result(outcome))


def _verify(job: Job) -> None:
    from prover_worker.ezkl_backend import EzklBackend
    from prover_worker.verify import verify_claim

    case = _case(proofs.verification_case(job.target))
    outcome = verify_claim(case, EzklBackend(), _reporter(job), queue.verifying_processes())
    proofs.record_verdict(job.target, _result(outcome))


def _reporter(job: Job) -> Callable[[int, int], None]:
    return lambda done, total: queue.report_progress(job.uuid, done / total, f"{done} of {total} proofs checked")


def _result(outcome: Verification) -> proofs.VerdictResult:
    failures = sorted(outcome.failures.items(), key=lambda item: -1 if item[0] is None else item[0])
    return proofs.VerdictResult(
        accepted=outcome.accepted,
        failures=failures,
        failed_chunks=sum(chunk is not None for chunk, _ in failures),
        proved_chunks=outcome.proved,
        untouched_chunks=outcome.untouched,
        touched_chunks=outcome.touched or None,
    )


def _stored(path: Path) -> bytes:
    """A file of the blob store. Raises ProverError if it was altered there: folder and name are its SHA-256."""
    from prover_worker.errors import ProverError

    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != path.parent.name + path.name:
        raise ProverError(f"the stored file {path} is no longer what was uploaded; restore it, then retry the job")
    return data


def _case(stored: proofs.VerificationCase) -> Case:
    from ledger.tlog.checkpoint import Checkpoint
    from prover_worker.drawing import draw_of
    from prover_worker.release import Release
    from prover_worker.verify import Case

    return Case(
        release=Release.open(stored.circuit, stored.circuit_paths),
        total=stored.total_weights,
        weights=_stored(stored.commitment_weights),
        curvature=_stored(stored.commitment_curvature),
        other_tensors=stored.commitment.other_tensors_sha256,
        mask=_stored(stored.mask_path),
        directions=None if stored.directions_path is None else _stored(stored.directions_path),
        claim_weights=_stored(stored.claim_weights),
        solution=_stored(stored.claim_solution),
        claim_other_tensors=stored.claim.other_tensors_sha256,
        checkpoint=Checkpoint(stored.checkpoint_origin, stored.checkpoint_size, stored.checkpoint_root),
        claim_index=stored.claim_ref.index,
        claim_leaf=bytes.fromhex(stored.claim_ref.leaf_hash),
        bundle=_stored(stored.bundle_path),
        draw=draw_of(stored.order, stored.claim.attempt, stored.challenge),
    )
