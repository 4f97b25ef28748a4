"""What clients say against orders. The order stands until it is met, or an officer decides otherwise."""

from __future__ import annotations

from django.db import models

from ledger.models.log import append_only


class Objection(models.Model):
    """Why a client does not obey an order, in its own signed words."""

    class Reason(models.TextChoices):
        DAMAGE = "damage", "it would damage the client's model beyond its limit"
        CANNOT_VERIFY = "cannot-verify", "the order does not check out"
        MODEL_NOT_IN_USE = "model-not-in-use", "the model is not in use any more"
        UNABLE = "unable", "the client lacks means or data to obey"
        OTHER = "other"

    order = models.OneToOneField("ledger.Order", models.PROTECT, related_name="objection")
    reason = models.CharField(max_length=20, choices=Reason)
    entry = models.OneToOneField("ledger.LogEntry", models.PROTECT, related_name="+")

    class Meta:
        ordering = ["entry"]
        triggers = append_only()

    def __str__(self) -> str:
        return f"{self.get_reason_display()}"
