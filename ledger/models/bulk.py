"""One action on many rows, carried out by a worker; and what became of each row."""

from __future__ import annotations

import uuid

from django.db import models
from django.utils.translation import gettext as _


class BulkRun(models.Model):
    """What was asked for, of how many rows, by whom. Values are codes and times only, never text about a person."""

    uuid = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    table = models.CharField(max_length=60)
    action = models.CharField(max_length=40)
    values = models.JSONField(default=dict)
    language = models.CharField(max_length=10, help_text="of the sentences about its rows")
    rows = models.PositiveIntegerField()
    actor_kind = models.CharField(max_length=10)
    actor_id = models.CharField(max_length=64)
    actor_name = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]
        verbose_name = "bulk action"

    def __str__(self) -> str:
        return _("bulk action %(uuid)s on %(rows)s rows") % {"uuid": str(self.uuid)[:8], "rows": self.rows}


class BulkRow(models.Model):
    """One row of a run. Its outcome is written in the transaction that changes the row itself."""

    class Outcome(models.TextChoices):
        WAITING = "", "waiting"
        DONE = "done", "done"
        REFUSED = "refused", "refused"

    run = models.ForeignKey(BulkRun, models.CASCADE, related_name="lines")
    target = models.UUIDField()
    outcome = models.CharField(max_length=10, choices=Outcome, blank=True, default=Outcome.WAITING)
    sentence = models.CharField(max_length=1000, blank=True, default="")

    class Meta:
        ordering = ["pk"]
        constraints = [models.UniqueConstraint(fields=["run", "target"], name="each_row_once")]

    def __str__(self) -> str:
        return f"{self.target}: {self.outcome}"
