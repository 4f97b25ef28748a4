"""What follows an order: claim, challenge, proof, verdict; and the certificate of a request.

The statement in the log says everything; these rows repeat what is searched for.
"""

from __future__ import annotations

import uuid

from django.db import models
from django.utils.translation import gettext as _


class Claim(models.Model):
    """Com(θu) and the commitments of the solution: one attempt at an order."""

    uuid = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    order = models.ForeignKey("ledger.Order", models.PROTECT, related_name="claims")
    attempt = models.PositiveIntegerField()
    weights_sha256 = models.CharField(max_length=64)
    solution_sha256 = models.CharField(max_length=64)
    other_tensors_sha256 = models.CharField(max_length=64)
    entry = models.OneToOneField("ledger.LogEntry", models.PROTECT, related_name="+")

    class Meta:
        ordering = ["entry"]
        constraints = [models.UniqueConstraint(fields=["order", "attempt"], name="one_claim_per_attempt")]

    def __str__(self) -> str:
        return _("claim %(attempt)s of %(order)s") % {"attempt": self.attempt, "order": self.order}

    @property
    def is_late(self) -> bool:
        """Whether it came in after its order's due date, to the second, as the challenge says."""
        return self.entry.created_at.replace(microsecond=0) > self.order.due_at


class Challenge(models.Model):
    """The checkpoint that fixes a claim's random field elements."""

    uuid = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    claim = models.OneToOneField(Claim, models.PROTECT, related_name="challenge")
    checkpoint = models.ForeignKey("ledger.Checkpoint", models.PROTECT, related_name="+")
    entry = models.OneToOneField("ledger.LogEntry", models.PROTECT, related_name="+")

    class Meta:
        ordering = ["entry"]

    def __str__(self) -> str:
        return _("challenge to %(claim)s") % {"claim": self.claim}


class ProofSubmission(models.Model):
    """The proof bundle of a claim."""

    uuid = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    claim = models.OneToOneField(Claim, models.PROTECT, related_name="proof")
    bundle_sha256 = models.CharField(max_length=64)
    entry = models.OneToOneField("ledger.LogEntry", models.PROTECT, related_name="+")

    class Meta:
        ordering = ["entry"]

    def __str__(self) -> str:
        return _("proof of %(claim)s") % {"claim": self.claim}


class VerdictRecord(models.Model):
    """What the verifier found."""

    uuid = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    proof = models.OneToOneField(ProofSubmission, models.PROTECT, related_name="verdict")
    accepted = models.BooleanField()
    failures = models.JSONField(default=list, help_text='the first 200: [{"chunk", "reason"}]')
    entry = models.OneToOneField("ledger.LogEntry", models.PROTECT, related_name="+")

    class Meta:
        ordering = ["entry"]

    def __str__(self) -> str:
        return f"{_('accepted') if self.accepted else _('rejected')}: {self.proof}"


class Continuation(models.Model):
    """How a commitment that continues a model shows that it keeps the zeros: challenge, proof, verdict."""

    uuid = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    client_model = models.OneToOneField("ledger.ClientModel", models.PROTECT, related_name="continuation")
    checkpoint = models.ForeignKey("ledger.Checkpoint", models.PROTECT, related_name="+")
    challenge_entry = models.OneToOneField("ledger.LogEntry", models.PROTECT, related_name="+")
    bundle_sha256 = models.CharField(max_length=64, blank=True, default="")
    proof_entry = models.OneToOneField("ledger.LogEntry", models.PROTECT, null=True, blank=True, related_name="+")
    verdict_entry = models.OneToOneField("ledger.LogEntry", models.PROTECT, null=True, blank=True, related_name="+")
    failures = models.JSONField(default=list, help_text='the first 200: [{"chunk", "reason"}]')

    class Meta:
        ordering = ["challenge_entry"]

    def __str__(self) -> str:
        return _("continuation of %(client_model)s") % {"client_model": self.client_model}


class Certificate(models.Model):
    """What was done about one request on one model. A supplement brings an earlier one up to date."""

    uuid = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    request = models.ForeignKey("ledger.DeletionRequest", models.PROTECT, related_name="certificates")
    window = models.ForeignKey("ledger.Window", models.PROTECT, related_name="certificates")
    complete = models.BooleanField(
        help_text="as many clients as the window's policy asks for have met their orders"
    )
    supplements = models.OneToOneField(
        "self",
        models.PROTECT,
        null=True,
        blank=True,
        related_name="supplement",
        help_text="what it brings up to date",
    )
    entry = models.OneToOneField("ledger.LogEntry", models.PROTECT, related_name="+")

    class Meta:
        ordering = ["entry"]

    def __str__(self) -> str:
        return _("certificate of %(request)s") % {"request": self.request}
