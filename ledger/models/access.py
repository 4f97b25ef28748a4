"""What accounts are limited to, and what they show beside a password: second factors, tokens."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils.translation import gettext as _


class ModelLimit(models.Model):
    """An account sees this model. Accounts without any such row see all models. See `ledger.access.scope`."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="model_limits")
    model = models.ForeignKey("ledger.GlobalModel", models.PROTECT, related_name="+")

    class Meta:
        ordering = ["pk"]
        constraints = [models.UniqueConstraint(fields=["user", "model"], name="one_limit_per_model")]

    def __str__(self) -> str:
        return _("%(user)s sees %(model)s") % {"user": self.user, "model": self.model}


class SecondFactor(models.Model):
    """What somebody holds beside the password: an authenticator's secret, or a passkey's public key."""

    class Kind(models.TextChoices):
        TOTP = "totp", "authenticator app"
        PASSKEY = "passkey", "passkey or security key"

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="second_factors")
    kind = models.CharField(max_length=10, choices=Kind)
    label = models.CharField(max_length=60, help_text="the owner's own name for it")
    secret = models.OneToOneField(
        "ledger.SubjectRecord", models.PROTECT, null=True, blank=True, related_name="+",
        help_text="of an authenticator app, sealed",
    )  # fmt: skip
    last_step = models.BigIntegerField(default=0, help_text="time step of the last code; none is taken twice")
    credential_id = models.BinaryField(null=True, blank=True, unique=True)
    public_key = models.BinaryField(null=True, blank=True)
    sign_count = models.BigIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return self.label


class RecoveryCode(models.Model):
    """For whoever has lost the second factor: a code of 80 random bits, good once."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="recovery_codes")
    digest = models.CharField(max_length=64, help_text="SHA-256 of the code")
    used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"recovery code of {self.user}"


class ApiToken(models.Model):
    """A program's key to the officers' part of the REST interface: one role of its owner's, for some days."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="api_tokens")
    label = models.CharField(max_length=60)
    role = models.CharField(max_length=20)
    digest = models.CharField(max_length=64, unique=True, help_text="SHA-256 of the token of 256 bits")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return self.label
