"""Who takes part and what they brought: clients, global models, circuit releases, client models."""

from __future__ import annotations

import uuid
from datetime import datetime

from django.db import models
from django.utils.translation import gettext as _


class ClientQuerySet(models.QuerySet["Client"]):
    """Clients by what the log and the clock make of them."""

    def in_state(self, state: Client.State, now: datetime) -> ClientQuerySet:
        """Those whose `state_at(now)` is `state`."""
        retired, enrolled = models.Q(retired_entry__isnull=False), models.Q(enrolled_entry__isnull=False)
        valid = models.Exists(ClientKey.objects.filter(client=models.OuterRef("pk"), revoked_entry=None))
        expired = models.Q(token_expires_at__lte=now)
        match state:
            case Client.State.RETIRED:
                return self.filter(retired)
            case Client.State.ENROLLED:
                return self.filter(valid, ~retired)
            case Client.State.KEYLESS:
                return self.filter(~valid, ~retired, enrolled)
            case Client.State.EXPIRED:
                return self.filter(~retired, ~enrolled, expired)
        return self.filter(~retired, ~enrolled, ~expired)


class Client(models.Model):
    """A party that holds a personalised model. Its name stays here; the log knows the UUID only."""

    class State(models.TextChoices):
        INVITED = "invited", "invited"
        EXPIRED = "expired", "invitation expired"
        ENROLLED = "enrolled", "enrolled"
        KEYLESS = "keyless", "without a valid key"
        RETIRED = "retired", "retired"

    uuid = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=200, unique=True)
    token_hash = models.CharField(max_length=64, unique=True, help_text="SHA-256 of the enrolment token")
    token_expires_at = models.DateTimeField(help_text="from then on the token enrols nobody")
    token_used_at = models.DateTimeField(null=True, blank=True)
    enrolled_entry = models.OneToOneField(
        "ledger.LogEntry", models.PROTECT, null=True, blank=True, related_name="+",
        help_text="its latest client-enrolment",
    )  # fmt: skip
    retired_entry = models.OneToOneField("ledger.LogEntry", models.PROTECT, null=True, blank=True, related_name="+")
    invited_at = models.DateTimeField(auto_now_add=True)

    objects = ClientQuerySet.as_manager()

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def state_at(self, now: datetime) -> Client.State:
        """What may be expected of this client."""
        if self.retired_entry_id is not None:
            return self.State.RETIRED
        if any(key.revoked_entry_id is None for key in self.keys.all()):  # prefetched for lists
            return self.State.ENROLLED
        if self.enrolled_entry_id is not None:
            return self.State.KEYLESS
        return self.State.EXPIRED if self.token_expires_at <= now else self.State.INVITED


class ClientKey(models.Model):
    """A key that a client has or had. Any that was not revoked signs for it."""

    client = models.ForeignKey(Client, models.PROTECT, related_name="keys")
    public_key = models.CharField(max_length=64, help_text="Ed25519, raw, hex")
    keyid = models.CharField(max_length=64, unique=True)
    label = models.CharField(max_length=100, blank=True, default="", help_text="the client's own; not in the log")
    enrolled_entry = models.OneToOneField(
        "ledger.LogEntry", models.PROTECT, related_name="+", help_text="what brought it"
    )
    revoked_entry = models.ForeignKey(
        "ledger.LogEntry", models.PROTECT, null=True, blank=True, related_name="+", help_text="what ended it"
    )

    class Meta:
        ordering = ["enrolled_entry"]
        indexes = [
            models.Index(fields=["client"], condition=models.Q(revoked_entry=None), name="valid_keys_by_client")
        ]

    def __str__(self) -> str:
        return _("key %(keyid)s of %(client)s") % {"keyid": self.keyid[:16], "client": self.client}


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
        return _("circuit release #%(entry_id)s") % {"entry_id": self.entry_id}


class ClientModel(models.Model):
    """What a client committed to: the points of its weights and curvature, before any mask."""

    class State(models.TextChoices):
        CURRENT = "current"
        SUPERSEDED = "superseded"
        RETIRED = "retired"

    class Continuity(models.TextChoices):
        NOTHING_DUE = "nothing-due", "no weight had to be zero yet"
        UNLINKED = "unlinked", "does not say that it continues the unlearned model"
        AWAITED = "awaited", "has not shown yet that what was set to zero is still zero"
        SHOWN = "shown", "has proved that what was set to zero is still zero"
        REFUTED = "refuted", "has failed to prove that what was set to zero is still zero"

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
    continues = models.OneToOneField("self", models.PROTECT, null=True, blank=True, related_name="continued_by")
    continuity = models.CharField(max_length=12, choices=Continuity, default=Continuity.NOTHING_DUE)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["client", "model"], condition=models.Q(state="current"), name="one_current_commitment"
            )
        ]

    def __str__(self) -> str:
        return _("%(client)s on %(model)s (#%(entry_id)s)") % {
            "client": self.client,
            "model": self.model,
            "entry_id": self.entry_id,
        }
