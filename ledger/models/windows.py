"""Windows (one mask for several requests) and the orders that follow from them."""

from __future__ import annotations

import uuid

from django.db import models


class Window(models.Model):
    """Approved requests that one mask covers."""

    class State(models.TextChoices):
        OPEN = "open"
        CLOSED = "closed"
        MASKED = "masked"
        SETTLED = "settled"
        CERTIFIED = "certified"

    uuid = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    model = models.ForeignKey("ledger.GlobalModel", models.PROTECT, related_name="windows")
    state = models.CharField(max_length=10, choices=State, default=State.OPEN)
    mask_config = models.JSONField()
    mask_sha256 = models.CharField(max_length=64, blank=True, default="")
    masked = models.BigIntegerField(null=True, blank=True, help_text="weights that the mask sets to zero")
    closed_entry = models.OneToOneField("ledger.LogEntry", models.PROTECT, null=True, blank=True, related_name="+")
    mask_entry = models.OneToOneField("ledger.LogEntry", models.PROTECT, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"window {str(self.uuid)[:8]} on {self.model}"


class Order(models.Model):
    """One client model is told to apply one mask."""

    class State(models.TextChoices):
        ISSUED = "issued"
        CLAIMED = "claimed"
        CHALLENGED = "challenged"
        PROVED = "proved"
        MET = "met"
        REJECTED = "rejected"

    uuid = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    window = models.ForeignKey(Window, models.PROTECT, related_name="orders")
    client_model = models.ForeignKey("ledger.ClientModel", models.PROTECT, related_name="orders")
    state = models.CharField(max_length=12, choices=State, default=State.ISSUED)
    attempt = models.PositiveIntegerField(default=0, help_text="claims made so far")
    due_at = models.DateTimeField()
    entry = models.OneToOneField("ledger.LogEntry", models.PROTECT, related_name="+")

    class Meta:
        ordering = ["entry"]
        constraints = [models.UniqueConstraint(fields=["window", "client_model"], name="one_order_per_model")]

    def __str__(self) -> str:
        return f"order {str(self.uuid)[:8]} for {self.client_model.client}"
