"""Looking after background jobs and the log between use cases."""

from __future__ import annotations

import logging
import uuid

from django.utils.translation import gettext as _

from ledger import publication, queue
from ledger.log import NotCosignedError
from ledger.workflow.batches import certify_due, run_schedules
from ledger.workflow.errors import WorkflowError
from ledger.workflow.exports import drop_files
from ledger.workflow.housekeeping import tidy
from ledger.workflow.imports import drop_reports
from ledger.workflow.request_steps import expire_unverified
from ledger.workflow.silence import chase
from ledger.workflow.step import exclusive

logger = logging.getLogger(__name__)


@exclusive
def retry_job(job_id: uuid.UUID | str) -> None:
    """An officer starts a failed job anew. Raises WorkflowError (409) unless it has failed."""
    if not queue.retry(job_id):
        raise WorkflowError(
            "not-failed", _("job %(job_id)s has not failed: only failed jobs are started anew") % {"job_id": job_id}
        )


def publish_new_entries() -> None:
    """Publish a checkpoint that covers everything logged so far; nothing happens where there is one.

    Without a quorum of witnesses nothing is published: their state says why, and the next round tries again.
    """
    try:
        publication.publish()
    except NotCosignedError as error:
        logger.debug("%s", error)  # each witness's change of mind was logged when it happened


def ask_witnesses_now() -> int:
    """An officer wants no waiting after failures. Returns the published size. Raises WorkflowError (409)."""
    try:
        return publication.publish(insist=True).size
    except NotCosignedError as error:
        raise WorkflowError("not-cosigned", str(error)) from error


def sweep() -> int:
    """The beat's round: requests and files whose time is over, windows by schedule, silent clients, certificates;
    then publish what is new in the log and wake workers for lost jobs. Returns how many of these.
    """
    expire_unverified()
    drop_reports()
    drop_files()
    run_schedules()
    chase()
    certify_due()
    tidy()
    publish_new_entries()
    return queue.sweep()
