"""Deletion requests, in the states of the Data Rights Protocol 1.0."""

from __future__ import annotations

import uuid

from django.db import models


class DeletionRequest(models.Model):
    """One person's request. Who asked, and the salt of the commitment in the log, are sealed in the vault."""

    class Regulation(models.TextChoices):
        GDPR = "gdpr", "GDPR"
        UK_GDPR = "uk-gdpr", "UK GDPR"
        CCPA = "ccpa", "CCPA"
        LGPD = "lgpd", "LGPD"
        OTHER = "other"

    class State(models.TextChoices):
        OPEN = "open"
        IN_PROGRESS = "in_progress"
        FULFILLED = "fulfilled"
        DENIED = "denied"
        EXPIRED = "expired"
        REVOKED = "revoked"

    uuid = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    regulation = models.CharField(max_length=10, choices=Regulation)
    state = models.CharField(max_length=12, choices=State, default=State.OPEN)
    received_at = models.DateTimeField()
    due_at = models.DateTimeField()
    forget = models.JSONField(help_text='which training data: {"dataset", "class"}')
    subject = models.OneToOneField("ledger.SubjectRecord", models.PROTECT, related_name="request")
    filed_entry = models.OneToOneField("ledger.LogEntry", models.PROTECT, related_name="+")
    decision_entry = models.OneToOneField(
        "ledger.LogEntry", models.PROTECT, null=True, blank=True, related_name="+"
    )
    erased_entry = models.OneToOneField(
        "ledger.LogEntry", models.PROTECT, null=True, blank=True, related_name="+",
        help_text="the tombstone: who asked was destroyed",
    )  # fmt: skip
    decision_reason = models.CharField(max_length=200, blank=True, default="")
    window = models.ForeignKey("ledger.Window", models.PROTECT, null=True, blank=True, related_name="requests")

    class Meta:
        ordering = ["due_at"]

    def __str__(self) -> str:
        return f"request {self.uuid} ({self.get_state_display()})"
