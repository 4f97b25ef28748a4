"""Who takes part and what they brought: clients, global models, circuit releases, client models."""

from __future__ import annotations

import uuid

from django.db import models


class Client(models.Model):
    """A party that holds a personalised model. Its name stays here; the log knows the UUID only."""

    uuid = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=200, unique=True)
    token_hash = models.CharField(max_length=64, unique=True, help_text="SHA-256 of the enrolment token")
    token_used_at = models.DateTimeField(null=True, blank=True)
    public_key = models.CharField(max_length=64, blank=True, default="", help_text="Ed25519, raw, hex")
    keyid = models.CharField(max_length=64, unique=True, null=True, blank=True)
    enrolled_entry = models.OneToOneField(
        "ledger.LogEntry", models.PROTECT, null=True, blank=True, related_name="+"
    )
    invited_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class ClientKey(models.Model):
    """A key that a client has or had. `Client.public_key` repeats the one that is valid now."""

    client = models.ForeignKey(Client, models.PROTECT, related_name="keys")
    public_key = models.CharField(max_length=64, help_text="Ed25519, raw, hex")
    keyid = models.CharField(max_length=64, unique=True)
    enrolled_entry = models.OneToOneField("ledger.LogEntry", models.PROTECT, related_name="+")
    revoked_entry = models.OneToOneField("ledger.LogEntry", models.PROTECT, null=True, blank=True, related_name="+")

    class Meta:
        ordering = ["enrolled_entry"]
        constraints = [
            models.UniqueConstraint(
                fields=["client"], condition=models.Q(revoked_entry=None), name="one_valid_key_per_client"
            )
        ]

    def __str__(self) -> str:
        return f"key {self.keyid[:16]} of {self.client}"


class GlobalModel(models.Model):
    """A model release of the provider."""

    uuid = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=200)
    entry = models.OneToOneField("ledger.LogEntry", models.PROTECT, related_name="+")
    file_sha256 = models.CharField(max_length=64)
    architecture = models.JSONField(help_text="what unlearning.backbones.build takes")
    total_weights = models.BigIntegerField(help_text="weights in all target tensors")
    dataset = models.CharField(max_length=200)
    mask_config = models.JSONField(default=dict, help_text="default configuration of mask jobs")
    supersedes = models.ForeignKey(
        "self", models.PROTECT, null=True, blank=True, related_name="successors", help_text="the release before it"
    )
    retired_entry = models.OneToOneField(
        "ledger.LogEntry", models.PROTECT, null=True, blank=True, related_name="+", help_text="out of use since"
    )
    batched_at = models.DateTimeField(null=True, blank=True, help_text="when its schedule last came round")
    retired_reason = models.CharField(max_length=20, blank=True, default="")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return self.name


class CircuitRelease(models.Model):
    """The circuits, keys and SRS that proofs are made and checked under."""

    uuid = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    entry = models.OneToOneField("ledger.LogEntry", models.PROTECT, related_name="+")
    parameters = models.JSONField()
    blobs = models.JSONField(help_text="SHA-256 by role")
    srs_provenance = models.CharField(max_length=20)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"circuit release #{self.entry_id}"


class ClientModel(models.Model):
    """What a client committed to: the points of its weights and curvature, before any mask."""

    class State(models.TextChoices):
        CURRENT = "current"
        SUPERSEDED = "superseded"

    uuid = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    client = models.ForeignKey(Client, models.PROTECT, related_name="models")
    model = models.ForeignKey(GlobalModel, models.PROTECT, related_name="client_models")
    circuit = models.ForeignKey(CircuitRelease, models.PROTECT, related_name="client_models")
    entry = models.OneToOneField("ledger.LogEntry", models.PROTECT, related_name="+")
    chunks = models.PositiveIntegerField()
    weights_sha256 = models.CharField(max_length=64)
    curvature_sha256 = models.CharField(max_length=64)
    other_tensors_sha256 = models.CharField(max_length=64)
    state = models.CharField(max_length=12, choices=State, default=State.CURRENT)
    unlearned_by = models.OneToOneField(
        "ledger.Claim", models.PROTECT, null=True, blank=True, related_name="+",
        help_text="the accepted claim whose points replaced this commitment's weights",
    )  # fmt: skip
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["client", "model"], condition=models.Q(state="current"), name="one_current_commitment"
            )
        ]

    def __str__(self) -> str:
        return f"{self.client} on {self.model} (#{self.entry_id})"
