"""What the sweep tidies away: rows that only serve until a time that has passed."""

from __future__ import annotations

from django.utils import timezone

from ledger.models import KeptAnswer, RateBucket
from ledger.models.http import KEPT


def tidy() -> None:
    """Forget answers that are too old to be given again, and buckets that are full again. Safe anywhere."""
    now = timezone.now()
    KeptAnswer.objects.filter(created_at__lt=now - KEPT).delete()
    RateBucket.objects.filter(full_until__lt=now).delete()
