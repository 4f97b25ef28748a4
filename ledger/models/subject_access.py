"""Who was shown who asked."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext as _

from ledger.models.log import append_only
from ledger.models.requests import DeletionRequest


class SubjectAccess(models.Model):
    """One look at a subject's sealed identity. The log has the commitment `viewer`, this row what opens it."""

    request = models.ForeignKey(DeletionRequest, models.PROTECT, related_name="accesses")
    entry = models.OneToOneField("ledger.LogEntry", models.PROTECT, related_name="+")
    reason = models.CharField(max_length=60)
    viewer = models.CharField(max_length=64, help_text="SHA-256 of salt and viewer, as logged")
    salt = models.CharField(max_length=64, help_text="hex")
    viewer_id = models.CharField(max_length=80, help_text="kind:id of who looked")
    viewer_name = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-entry"]
        triggers = append_only()
        verbose_name_plural = "subject accesses"

    def __str__(self) -> str:
        return _("%(viewer_name)s looked: %(reason)s") % {"viewer_name": self.viewer_name, "reason": self.reason}
