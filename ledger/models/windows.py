"""Windows (one mask for several requests), their policies, and the orders that follow from them."""

from __future__ import annotations

import uuid

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext as _


class Policy(models.Model):
    """How windows of a model come about and what they ask for; without a model: of all that have none of their own.

    What the values mean is `ledger.workflow.policies`.
    """

    uuid = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    model = models.OneToOneField(
        "ledger.GlobalModel", models.CASCADE, null=True, blank=True, related_name="policy",
        help_text="empty: the default policy",
    )  # fmt: skip
    values = models.JSONField(default=dict)
    anchored_at = models.DateTimeField(default=timezone.now, help_text="schedules count from here")
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = [models.F("model__name").asc(nulls_first=True)]
        verbose_name_plural = "policies"
        constraints = [
            models.UniqueConstraint(models.Value(1), condition=models.Q(model=None), name="one_default_policy")
        ]

    def __str__(self) -> str:
        return _("default policy") if self.model is None else _("policy for %(model)s") % {"model": self.model}


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
    requests = models.ManyToManyField("ledger.DeletionRequest", related_name="windows")
    state = models.CharField(max_length=10, choices=State, default=State.OPEN)
    mask_config = models.JSONField()
    policy = models.JSONField(
        default=dict, help_text="while it is open: what differs from the model's policy; then all of it, as logged"
    )
    mask_sha256 = models.CharField(max_length=64, blank=True, default="")
    masked = models.BigIntegerField(null=True, blank=True, help_text="weights that the mask sets to zero")
    closed_entry = models.OneToOneField("ledger.LogEntry", models.PROTECT, null=True, blank=True, related_name="+")
    mask_entry = models.OneToOneField("ledger.LogEntry", models.PROTECT, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return _("window %(uuid)s on %(model)s") % {"uuid": str(self.uuid)[:8], "model": self.model}


class Order(models.Model):
    """One client model is told to apply one mask."""

    class State(models.TextChoices):
        ISSUED = "issued"
        CLAIMED = "claimed"
        CHALLENGED = "challenged"
        PROVED = "proved"
        MET = "met"
        REJECTED = "rejected"
        EXCEPTED = "excepted"

    uuid = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    window = models.ForeignKey(Window, models.PROTECT, related_name="orders")
    client_model = models.ForeignKey("ledger.ClientModel", models.PROTECT, related_name="orders")
    state = models.CharField(max_length=12, choices=State, default=State.ISSUED)
    attempt = models.PositiveIntegerField(default=0, help_text="claims made so far")
    due_at = models.DateTimeField()
    coverage = models.CharField(max_length=20, default="full", help_text="of the first attempt")
    draw_sha256 = models.CharField(max_length=64, blank=True, default="", help_text="logged with the order")
    draw_secret = models.CharField(
        max_length=64, blank=True, default="", help_text="disclosed by the challenge, and not before"
    )
    exception_entry = models.OneToOneField(
        "ledger.LogEntry", models.PROTECT, null=True, blank=True, related_name="+"
    )
    exception_reason = models.CharField(max_length=30, blank=True, default="")
    entry = models.OneToOneField("ledger.LogEntry", models.PROTECT, related_name="+")

    class Meta:
        ordering = ["entry"]
        constraints = [models.UniqueConstraint(fields=["window", "client_model"], name="one_order_per_model")]

    def __str__(self) -> str:
        return _("order %(uuid)s for %(client)s") % {"uuid": str(self.uuid)[:8], "client": self.client_model.client}


class OrderNotice(models.Model):
    """A reminder, or another step against silence, that was taken: each kind once per order."""

    order = models.ForeignKey(Order, models.CASCADE, related_name="notices")
    key = models.CharField(max_length=20, help_text="before-7, overdue, after-3, escalated, suspended")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["pk"]
        constraints = [models.UniqueConstraint(fields=["order", "key"], name="one_notice_of_a_kind")]

    def __str__(self) -> str:
        return _("%(key)s for %(order)s") % {"key": self.key, "order": self.order}


class Suspension(models.Model):
    """A time in which a client gets no orders, because it does not comply."""

    client = models.ForeignKey("ledger.Client", models.PROTECT, related_name="suspensions")
    order = models.ForeignKey(Order, models.PROTECT, null=True, blank=True, related_name="suspensions")
    reason = models.CharField(max_length=20)
    set_entry = models.OneToOneField("ledger.LogEntry", models.PROTECT, related_name="+")
    lifted_entry = models.OneToOneField("ledger.LogEntry", models.PROTECT, null=True, blank=True, related_name="+")
    lift_reason = models.CharField(max_length=20, blank=True, default="")

    class Meta:
        ordering = ["set_entry"]
        constraints = [
            models.UniqueConstraint(
                fields=["client"], condition=models.Q(lifted_entry=None), name="one_suspension_at_a_time"
            )
        ]

    def __str__(self) -> str:
        said = _("suspension of %(client)s") % {"client": self.client}
        return said if self.lifted_entry_id is None else f"{said} ({_('lifted')})"
