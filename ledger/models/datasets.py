"""Which samples a training set has: what references in deletion requests are looked up in."""

from __future__ import annotations

import uuid

from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.utils.translation import gettext as _


class DatasetIndex(models.Model):
    """One version of a data set's index of samples. `ledger.workflow.datasets` writes it once."""

    uuid = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=200, help_text="the data set, as models and requests call it")
    digest = models.CharField(max_length=64, help_text="SHA-256 over all samples, see docs/formats.md")
    samples = models.PositiveIntegerField()
    fields = models.JSONField(help_text="names of fields that queries may use")
    current = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name", "-created_at"]
        verbose_name_plural = "dataset indexes"
        constraints = [
            models.UniqueConstraint(
                fields=["name"], condition=models.Q(current=True), name="one_current_index_per_dataset"
            )
        ]

    def __str__(self) -> str:
        return _("%(name)s, %(samples)s samples") % {"name": self.name, "samples": self.samples}


class IndexedSample(models.Model):
    """One training sample. `position` is its place in the training set, from 0: what masks are computed from."""

    index = models.ForeignKey(DatasetIndex, models.CASCADE, related_name="rows")
    position = models.PositiveIntegerField()
    sample = models.CharField(max_length=200, help_text="its name in requests")
    label = models.PositiveIntegerField(null=True, blank=True, help_text="its class")
    fields = models.JSONField(default=dict, help_text="further fields, nothing personal")

    class Meta:
        ordering = ["index", "position"]
        constraints = [
            models.UniqueConstraint(fields=["index", "position"], name="one_sample_per_position"),
            models.UniqueConstraint(fields=["index", "sample"], name="one_position_per_sample"),
        ]
        indexes = [
            models.Index(fields=["index", "label"], name="samples_by_label"),
            GinIndex(fields=["fields"], name="samples_by_fields", opclasses=["jsonb_path_ops"]),
        ]

    def __str__(self) -> str:
        return f"sample {self.position} of {self.index.name}"
