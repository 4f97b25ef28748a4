"""Background work. The row is the truth; a Celery message only wakes a worker."""

from __future__ import annotations

import uuid

from django.db import models
from django.utils.translation import gettext as _


class Job(models.Model):
    """One task for a worker, held under a lease while it runs."""

    class Kind(models.TextChoices):
        MASK = "mask"  # target: a window
        CHALLENGE = "challenge"  # target: a claim
        VERIFY = "verify"  # target: a proof submission
        CONTINUATION_CHALLENGE = "line-challenge"  # target: a client model
        CONTINUATION = "line-verify"  # target: a continuation
        IMPORT = "import"  # target: a file of requests
        EXPORT = "export"  # target: an export
        BULK = "bulk"  # target: an action on many rows

    class State(models.TextChoices):
        QUEUED = "queued"
        RUNNING = "running"
        DONE = "done"
        FAILED = "failed"

    uuid = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    kind = models.CharField(max_length=20, choices=Kind)
    target = models.UUIDField()
    state = models.CharField(max_length=10, choices=State, default=State.QUEUED)
    attempts = models.PositiveSmallIntegerField(default=0)
    queued_at = models.DateTimeField(help_text="last time a worker was woken for it")
    lease_until = models.DateTimeField(null=True, blank=True)
    progress = models.FloatField(default=0.0, help_text="0 to 1")
    message = models.CharField(max_length=300, blank=True, default="")
    error = models.TextField(blank=True, default="")
    cause = models.CharField(max_length=64, blank=True, default="", db_default="", editable=False)  # a request's id
    trace_parent = models.CharField(max_length=55, blank=True, default="", db_default="", editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-created_at"]
        constraints = [models.UniqueConstraint(fields=["kind", "target"], name="one_job_per_target")]

    def __str__(self) -> str:
        return f"{_(self.kind)} {self.target}: {_(self.state)}"
