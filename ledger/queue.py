"""Celery, and the rows that are the truth about background work.

A message only wakes a worker: it may be lost, come twice, or come to a worker that dies. So

1. `enqueue` writes the job's row in the caller's transaction and sends the message when that has committed;
2. a worker takes the job by a conditional UPDATE (`claim_job`) and holds it under a lease, which each
   `report_progress` and `held` extend; zero rows updated means that another worker has it;
3. `sweep`, called by the beat every 15 seconds, wakes workers again for jobs whose lease ran out or whose
   message seems lost, and gives up after LEDGER_JOB_ATTEMPTS attempts.

All these times are the database's: hosts whose clocks differ, or jump, agree about every lease.

Web processes know tasks by name only and never import torch or ezkl.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final

from celery import Celery
from celery.signals import task_failure, task_postrun, task_prerun, worker_process_shutdown
from django.conf import settings
from django.db import DatabaseError, connection, models, transaction
from django.db.models.functions import Now

from ledger import broker, logs, traces
from ledger.models import Job

logger = logging.getLogger(__name__)

TASK_MASK: Final = "prover_worker.tasks.mask"
TASK_CHALLENGE: Final = "prover_worker.tasks.challenge"
TASK_VERIFY: Final = "prover_worker.tasks.verify"
TASK_LINE_CHALLENGE: Final = "prover_worker.tasks.line_challenge"
TASK_LINE_VERIFY: Final = "prover_worker.tasks.line_verify"
TASK_IMPORT: Final = "prover_worker.tasks.import_requests"
TASK_EXPORT: Final = "prover_worker.tasks.export"
TASK_BULK: Final = "prover_worker.tasks.bulk"
TASK_SWEEP: Final = "prover_worker.tasks.sweep"
TASK_FSCK: Final = "prover_worker.tasks.fsck"
TASK_WEBHOOKS: Final = "prover_worker.tasks.webhooks"
TASKS: Final = {
    Job.Kind.MASK: TASK_MASK,
    Job.Kind.CHALLENGE: TASK_CHALLENGE,
    Job.Kind.VERIFY: TASK_VERIFY,
    Job.Kind.CONTINUATION_CHALLENGE: TASK_LINE_CHALLENGE,
    Job.Kind.CONTINUATION: TASK_LINE_VERIFY,
    Job.Kind.IMPORT: TASK_IMPORT,
    Job.Kind.EXPORT: TASK_EXPORT,
    Job.Kind.BULK: TASK_BULK,
}

_ROUTES: Final = {
    TASK_MASK: broker.MASKING,
    TASK_CHALLENGE: broker.LEDGER,
    TASK_VERIFY: broker.VERIFICATION,
    TASK_LINE_CHALLENGE: broker.LEDGER,
    TASK_LINE_VERIFY: broker.VERIFICATION,
    TASK_IMPORT: broker.REPORTS,
    TASK_EXPORT: broker.REPORTS,
    TASK_BULK: broker.LEDGER,
    TASK_SWEEP: broker.LEDGER,
    TASK_FSCK: broker.REPORTS,
    TASK_WEBHOOKS: broker.WEBHOOKS,
}

CAUSE: Final = "ledger_request"  # header of a message: the id of the HTTP request that sent it
WEBHOOK_SECONDS: Final = 5
FSCK_SECONDS: Final = 24 * 3600

app = Celery("unlearning-ledger")


def _configuration() -> dict[str, Any]:
    """Read when Celery first needs it, so that settings are complete by then."""
    folder = settings.LEDGER_DATA_DIR / "queue"
    folder.mkdir(parents=True, exist_ok=True)
    rounds = {
        "sweep": (TASK_SWEEP, settings.LEDGER_SWEEP_SECONDS),
        "webhooks": (TASK_WEBHOOKS, WEBHOOK_SECONDS),
        "fsck": (TASK_FSCK, FSCK_SECONDS),
    }
    return broker.configuration(settings.CELERY_BROKER_URL, folder, settings.LEDGER_WORKER_MEMORY_MB, _ROUTES) | {
        "beat_scheduler": "ledger.beat:SteadyScheduler",
        "beat_schedule_filename": str(folder / "beat-schedule"),
        "beat_schedule": {
            name: {"task": task, "schedule": seconds, "options": {"expires": seconds}}
            for name, (task, seconds) in rounds.items()
        },
    }


app.add_defaults(_configuration)


@worker_process_shutdown.connect
def _leave(**_: Any) -> None:
    """Celery's children end without exit handlers: send the last spans, and let go of the embedded server, or it
    would run on for ever.
    """
    traces.flush()
    if settings.DATABASES["default"]["ENGINE"] == "ledger.embedded":
        from ledger import embedded

        embedded.release(settings.LEDGER_DATA_DIR)


def message_patience() -> timedelta:
    """A job queued longer than this is woken again: a minute, unless leases are shorter or longer than usual."""
    return timedelta(seconds=settings.LEDGER_JOB_LEASE_SECONDS / 2)


@task_prerun.connect
def _say_what_runs(task: Any, args: Any = (), **_: Any) -> None:
    """The lines of a task name it, its job, and the request that caused it, whose trace it goes on with."""
    cause = task.request.get(CAUSE)
    job = {"job": str(args[0])} if args else {}
    traces.begin(task.name, task.request.get(traces.PARENT), {f"ledger.{name}": one for name, one in job.items()})
    logs.begin(task=task.name, **job, **({"request": str(cause)} if cause else {}), **traces.current())


@task_failure.connect
def _say_that_it_failed(exception: BaseException | None = None, **_: Any) -> None:
    traces.end(exception)


@task_postrun.connect
def _say_that_it_is_over(**_: Any) -> None:
    traces.end()
    logs.begin()


def enqueue(kind: Job.Kind, target: uuid.UUID) -> Job:
    """Record a job and wake a worker once the transaction has committed. One job per kind and target."""
    made = {"queued_at": Now(), **_cause()}
    job, created = Job.objects.get_or_create(kind=kind, target=target, defaults=made)
    if created:
        _wake_after_commit(job)
    return job


def claim_job(job_id: uuid.UUID | str, lease_seconds: float | None = None) -> Job | None:
    """Take a job that waits, or whose worker's lease ran out. None: another worker has it, or it is over."""
    free = models.Q(state=Job.State.QUEUED, lease_until=None) | models.Q(
        state__in=[Job.State.QUEUED, Job.State.RUNNING], lease_until__lt=Now()
    )
    taken = Job.objects.filter(free, uuid=job_id).update(
        state=Job.State.RUNNING,
        attempts=models.F("attempts") + 1,
        lease_until=_lease(lease_seconds),
        progress=0.0,
        message="",
        error="",
    )
    return Job.objects.get(uuid=job_id) if taken else None


def report_progress(job_id: uuid.UUID | str, fraction: float, message: str) -> None:
    """Show how far a running job is (0 to 1) and extend its lease."""
    Job.objects.filter(uuid=job_id, state=Job.State.RUNNING).update(
        progress=min(max(fraction, 0.0), 1.0), message=message[:300], lease_until=_lease()
    )


def verifying_processes() -> int:
    """How many processes one job of verification may start."""
    return int(settings.LEDGER_VERIFY_PROCESSES)


@contextmanager
def held(job: Job) -> Iterator[None]:
    """Extend the job's lease while the body runs, however long that says nothing: a thread does it, which dies with
    the process. A body that hangs is ended by its task's time limit.
    """
    over = threading.Event()

    def extend() -> None:
        mine = Job.objects.filter(uuid=job.uuid, state=Job.State.RUNNING, attempts=job.attempts)
        while not over.wait(settings.LEDGER_JOB_LEASE_SECONDS / 3):
            try:
                mine.update(lease_until=_lease())
            except DatabaseError as error:  # the database is away: perhaps it is back in time for the next round
                logger.warning("the lease of %s was not extended: %s", job, error)
            finally:
                connection.close()

    thread = threading.Thread(target=extend, name=f"lease of {job.uuid}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def finish(job_id: uuid.UUID | str) -> None:
    """The job's work is done and stored."""
    Job.objects.filter(uuid=job_id).update(state=Job.State.DONE, progress=1.0, lease_until=None, error="")


def fail(job_id: uuid.UUID | str, error: str, *, retry: bool = False) -> None:
    """The job did not work out. With `retry` the sweep tries again while attempts are left.

    It rests until then, or a message that comes twice would use up all attempts at once.
    """
    attempts_left = models.Q(attempts__lt=settings.LEDGER_JOB_ATTEMPTS) if retry else models.Q(pk__in=[])
    running = Job.objects.filter(uuid=job_id).exclude(state=Job.State.DONE)
    rests = {"state": Job.State.QUEUED, "queued_at": Now(), "lease_until": Now() + message_patience()}
    if not running.filter(attempts_left).update(error=error[:5000], **rests):
        running.update(state=Job.State.FAILED, error=error[:5000], lease_until=None)


def postpone(job_id: uuid.UUID | str, reason: str) -> None:
    """The job cannot be done yet, and nobody failed: it waits for a later sweep, the attempt is not counted."""
    Job.objects.filter(uuid=job_id, state=Job.State.RUNNING).update(
        state=Job.State.QUEUED,
        attempts=models.F("attempts") - 1,
        queued_at=Now(),
        lease_until=None,
        message=reason[:300],
    )


def retry(job_id: uuid.UUID | str) -> bool:
    """An officer gives a failed job a fresh set of attempts. Returns whether it was a failed one."""
    failed = Job.objects.filter(uuid=job_id, state=Job.State.FAILED)
    if not failed.update(state=Job.State.QUEUED, attempts=0, error="", queued_at=Now(), **_cause()):
        return False
    _wake_after_commit(Job.objects.get(uuid=job_id))
    return True


def sweep() -> int:
    """Wake workers for jobs that were left lying; returns how many. Safe to run anywhere, any number of
    times.
    """
    lapsed = Job.objects.filter(state=Job.State.RUNNING, lease_until__lt=Now())
    lapsed.filter(attempts__gte=settings.LEDGER_JOB_ATTEMPTS).update(
        state=Job.State.FAILED,
        lease_until=None,
        error=f"the worker disappeared {settings.LEDGER_JOB_ATTEMPTS} times: see its log, then retry the job",
    )
    lapsed.update(state=Job.State.QUEUED, lease_until=None, queued_at=Now() - 2 * message_patience())
    woken = 0
    for job in Job.objects.filter(state=Job.State.QUEUED, queued_at__lt=Now() - message_patience()):
        # Of several sweeps at once, the one whose UPDATE finds the old time sends the message.
        if Job.objects.filter(pk=job.pk, queued_at=job.queued_at, state=Job.State.QUEUED).update(queued_at=Now()):
            _wake_after_commit(job)
            woken += 1
    return woken


def _lease(seconds: float | None = None) -> models.Expression:
    return Now() + timedelta(seconds=settings.LEDGER_JOB_LEASE_SECONDS if seconds is None else seconds)


def _cause() -> dict[str, str]:
    """What makes a job now: the request and the span that its log lines and its trace belong to."""
    return {"cause": logs.current("request") or "", "trace_parent": traces.parent()}


def _wake_after_commit(job: Job) -> None:
    transaction.on_commit(lambda: _send(job), robust=True)


def _send(job: Job) -> None:
    try:
        headers = {CAUSE: job.cause or None, traces.PARENT: job.trace_parent or None}
        app.send_task(TASKS[Job.Kind(job.kind)], args=[str(job.uuid)], headers=headers)
    except Exception:
        # The row is safe; the sweep sends the message again when the broker is back.
        logger.exception("no message was sent for %s", job)
