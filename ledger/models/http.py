"""What the REST interface remembers between requests: how much callers asked, what they were answered."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from django.db import models

KEPT: Final = timedelta(hours=24)  # how long an answer is given again


class RateBucket(models.Model):
    """How far ahead of its rate a caller is. The table is UNLOGGED: a crash of the server forgets it."""

    name = models.CharField(max_length=200, primary_key=True)
    full_until = models.DateTimeField(help_text="when everything spent so far will have been earned again")

    class Meta:
        indexes = [models.Index(fields=["full_until"], name="rate_buckets_by_time")]

    def __str__(self) -> str:
        return self.name


class KeptAnswer(models.Model):
    """The answer to a POST with an Idempotency-Key, sealed; see `ledger.api.idempotency`."""

    key_sha256 = models.CharField(max_length=64, primary_key=True, help_text="of caller and key")
    caller = models.CharField(max_length=80, help_text='"officer:ID" or "client:UUID"')
    fingerprint = models.CharField(max_length=64, help_text="SHA-256 of method, address, type and body")
    status = models.PositiveSmallIntegerField()
    answer = models.BinaryField(help_text="the body, encrypted under the Idempotency-Key")
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)

    def __str__(self) -> str:
        return f"{self.status} for {self.caller}"
