"""Runs of fsck. A run that found something is an alarm."""

from __future__ import annotations

import uuid

from django.db import models
from django.utils.translation import gettext as _


class FsckRun(models.Model):
    """One complete check of the log and of all tables against it."""

    uuid = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    started_at = models.DateTimeField()
    seconds = models.FloatField()
    entries = models.BigIntegerField(help_text="size of the log that was checked")
    problem = models.TextField(
        blank=True, default="", help_text="the first thing that is wrong; empty: all is well"
    )

    class Meta:
        ordering = ["-started_at"]
        verbose_name = "log check"

    def __str__(self) -> str:
        return f"{self.started_at:%Y-%m-%d %H:%M} {_('ALARM') if self.problem else _('good')}"
