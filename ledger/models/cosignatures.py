"""What is kept while witnesses are asked. `ledger.publication` is the only writer.

Proposals and cosignatures are append-only like the log itself: what was signed for a size stays signed.
"""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext as _

from ledger.models.log import append_only


class CheckpointProposal(models.Model):
    """A head that was signed and shown to witnesses. It is published when a `Checkpoint` of its size exists."""

    size = models.BigIntegerField(primary_key=True)
    root = models.BinaryField(max_length=32)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["size"]
        triggers = append_only()

    def __str__(self) -> str:
        return _("proposed checkpoint of %(size)s entries") % {"size": self.size}


class Cosignature(models.Model):
    """A witness's checked cosignature on a proposal."""

    proposal = models.ForeignKey(CheckpointProposal, models.PROTECT, related_name="cosignatures")
    vkey = models.CharField(max_length=400, help_text="the witness's verifier key")
    line = models.TextField(help_text="signature line of the checkpoint's note")
    time = models.BigIntegerField(help_text="seconds since 1970, by the witness's clock")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["proposal", "vkey"]
        constraints = [models.UniqueConstraint(fields=["proposal", "vkey"], name="one_cosignature_per_witness")]
        triggers = append_only()

    def __str__(self) -> str:
        return _("%(name)s on %(proposal_id)s") % {"name": self.name, "proposal_id": self.proposal_id}

    @property
    def name(self) -> str:
        """The witness's name."""
        return self.vkey.split("+")[0]


class WitnessState(models.Model):
    """How it stands with a witness: what officers and outsiders are shown. Alarms are `fork` and `lost`."""

    class State(models.TextChoices):
        NEW = "new", "not asked yet"
        COSIGNED = "cosigned", "cosigned what it was asked to"
        UNREACHABLE = "unreachable", "does not answer"
        REFUSED = "refused", "refuses"
        WRONG_KEY = "wrong-key", "signs with another key"
        LOST = "lost", "ALARM: has cosigned entries that this log no longer has"
        FORK = "fork", "ALARM: has cosigned another history"

    vkey = models.CharField(primary_key=True, max_length=400)
    url = models.CharField(max_length=400)
    state = models.CharField(max_length=12, choices=State, default=State.NEW)
    message = models.TextField(blank=True, default="")
    size = models.BigIntegerField(default=0, help_text="entries that the witness has cosigned, as far as we know")
    failures = models.PositiveIntegerField(default=0, help_text="in a row; the next try waits longer after each")
    asked_at = models.DateTimeField(null=True, blank=True)
    cosigned_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["vkey"]
        verbose_name = "witness"
        verbose_name_plural = "witnesses"

    def __str__(self) -> str:
        return f"{self.name}: {self.get_state_display()}"

    @property
    def name(self) -> str:
        """The witness's name."""
        return self.vkey.split("+")[0]

    @property
    def alarm(self) -> bool:
        """Whether the log itself is in doubt, not only the witness."""
        return self.state in {self.State.LOST, self.State.FORK}
