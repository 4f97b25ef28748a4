"""What accounts are limited to."""

from __future__ import annotations

from django.conf import settings
from django.db import models


class ModelLimit(models.Model):
    """An account sees this model. Accounts without any such row see all models. See `ledger.access.scope`."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="model_limits")
    model = models.ForeignKey("ledger.GlobalModel", models.PROTECT, related_name="+")

    class Meta:
        ordering = ["pk"]
        constraints = [models.UniqueConstraint(fields=["user", "model"], name="one_limit_per_model")]

    def __str__(self) -> str:
        return f"{self.user} sees {self.model}"
