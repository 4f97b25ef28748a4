"""Audit reports that somebody has asked for."""

from __future__ import annotations

import uuid

from django.db import models
from django.utils.translation import gettext as _


class Export(models.Model):
    """One report. The log keeps its digest for ever; the file is sealed, and destroyed after some days."""

    class Scope(models.TextChoices):
        REQUEST = "request"
        WINDOW = "window"
        CLIENT = "client"
        PERIOD = "period"

    class Form(models.TextChoices):
        PDF = "pdf", "PDF"
        JSON = "json", "JSON"
        CSV = "csv", "tables (CSV)"

    uuid = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    scope = models.CharField(max_length=10, choices=Scope)
    about = models.UUIDField(null=True, blank=True, help_text="the request, window or client")
    since = models.DateTimeField(null=True, blank=True)
    until = models.DateTimeField(null=True, blank=True)
    form = models.CharField(max_length=10, choices=Form)
    personal_data = models.BooleanField(default=False, help_text="names who asked")
    reason = models.CharField(max_length=60, blank=True, default="", help_text="why persons are named: a code")
    actor_kind = models.CharField(max_length=10)
    actor_id = models.CharField(max_length=64)
    actor_name = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)
    entry = models.OneToOneField("ledger.LogEntry", models.PROTECT, null=True, blank=True, related_name="+")
    sha256 = models.CharField(max_length=64, blank=True, default="")
    size = models.BigIntegerField(null=True, blank=True)
    file = models.OneToOneField("ledger.SubjectRecord", models.PROTECT, null=True, blank=True, related_name="+")
    expires_at = models.DateTimeField(null=True, blank=True, db_index=True, help_text="the file is destroyed then")

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return _("%(scope)s report %(uuid)s") % {"scope": _(self.scope), "uuid": str(self.uuid)[:8]}


class ExportStep(models.Model):
    """What a worker has made of a report so far, for the next one if it dies. Sealed, and gone with the job."""

    export = models.ForeignKey(Export, models.CASCADE, related_name="steps")
    name = models.CharField(max_length=20)
    file = models.OneToOneField("ledger.SubjectRecord", models.PROTECT, related_name="+")
    covers = models.BigIntegerField(help_text="size of the log that it was made from")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["export", "name"], name="one_step_of_a_name")]

    def __str__(self) -> str:
        return f"{self.name} of report {str(self.export_id)[:8]}"
