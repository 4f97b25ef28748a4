"""Looking after background jobs and the log between use cases."""

from __future__ import annotations

import uuid

from ledger import log, queue
from ledger.models import Checkpoint
from ledger.workflow.errors import WorkflowError
from ledger.workflow.step import exclusive


def fail_job(job_id: uuid.UUID | str, error: str, *, retry: bool = True) -> None:
    """A worker could not do the job (and that says nothing about a client): tried again while attempts are
    left.
    """
    queue.fail(job_id, error, retry=retry)


@exclusive
def retry_job(job_id: uuid.UUID | str) -> None:
    """An officer starts a failed job anew. Raises WorkflowError (409) unless it has failed."""
    if not queue.retry(job_id):
        raise WorkflowError("not-failed", f"job {job_id} has not failed: only failed jobs are started anew")


@exclusive
def publish_new_entries() -> Checkpoint:
    """Publish a checkpoint that covers everything logged so far; nothing happens where there is one."""
    return log.publish_checkpoint()


def sweep() -> int:
    """The beat's round: publish what is new in the log, wake workers for lost jobs. Returns how many."""
    publish_new_entries()
    return queue.sweep()
