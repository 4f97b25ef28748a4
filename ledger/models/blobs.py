"""Which artefacts the blob store holds, and whose they are."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext as _


class Blob(models.Model):
    """One file of the store. Without an owner it is the provider's, and every client may read it."""

    sha256 = models.CharField(max_length=64)
    size = models.BigIntegerField(help_text="bytes")
    owner = models.ForeignKey("ledger.Client", models.PROTECT, null=True, blank=True, related_name="blobs")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            # Two parties may hold the same bytes; each has a row of its own, the file exists once.
            models.UniqueConstraint(fields=["sha256", "owner"], name="one_blob_per_owner", nulls_distinct=False)
        ]

    def __str__(self) -> str:
        return _("%(sha256)s… (%(size)s bytes)") % {"sha256": self.sha256[:12], "size": self.size}
