"""Who wants to be told of events, and every attempt at telling."""

from __future__ import annotations

import uuid

from django.db import models
from django.utils.translation import gettext as _


class WebhookEndpoint(models.Model):
    """An address that events are posted to; an officer's, or a client's own, which hears of that client only."""

    uuid = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    client = models.ForeignKey("ledger.Client", models.PROTECT, null=True, blank=True, related_name="webhooks")
    url = models.CharField(max_length=500)
    kinds = models.JSONField(default=list, help_text="of events; empty: all")
    secret = models.OneToOneField("ledger.SubjectRecord", models.PROTECT, related_name="+")  # sealed like persons
    last_event = models.BigIntegerField(help_text="events up to this number have become deliveries")
    created_at = models.DateTimeField(auto_now_add=True)
    failing_since = models.DateTimeField(null=True, blank=True)
    disabled_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["created_at"]

    def __str__(self) -> str:
        return self.url


class WebhookDelivery(models.Model):
    """One message to one address, until it has arrived or is given up. `next_at` is also the lease of a sender."""

    class State(models.TextChoices):
        WAITING = "waiting"
        DELIVERED = "delivered"
        FAILED = "failed"

    uuid = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    endpoint = models.ForeignKey(
        WebhookEndpoint, models.CASCADE, null=True, blank=True, related_name="deliveries",
        help_text="none: a status callback that a deletion request asked for",
    )  # fmt: skip
    event = models.ForeignKey("ledger.Event", models.PROTECT, null=True, blank=True, related_name="deliveries")
    url = models.CharField(max_length=500)
    kind = models.CharField(max_length=60)
    body = models.TextField(help_text="what is posted and signed, byte for byte")
    state = models.CharField(max_length=10, choices=State, default=State.WAITING)
    attempts = models.PositiveSmallIntegerField(default=0)
    next_at = models.DateTimeField(db_index=True)
    status = models.PositiveSmallIntegerField(null=True, blank=True, help_text="of the last answer")
    seconds = models.FloatField(null=True, blank=True, help_text="that the last answer took")
    error = models.CharField(max_length=300, blank=True, default="")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-created_at"]
        verbose_name_plural = "webhook deliveries"
        constraints = [
            models.UniqueConstraint(fields=["endpoint", "event"], name="one_delivery_per_event_and_endpoint"),
            models.UniqueConstraint(
                fields=["url", "event"], condition=models.Q(endpoint=None), name="one_callback_per_event"
            ),
        ]

    def __str__(self) -> str:
        return _("%(kind)s to %(url)s: %(state)s") % {"kind": self.kind, "url": self.url, "state": _(self.state)}


class CallbackCursor(models.Model):
    """One row: events up to `last_event` have become status callbacks."""

    last_event = models.BigIntegerField()

    def __str__(self) -> str:
        return f"callbacks up to event {self.last_event}"
