"""What the sweep tidies away: rows that only serve until a time that has passed."""

from __future__ import annotations

from django.conf import settings
from django.utils import timezone

from ledger.models import KeptAnswer, RateBucket
from ledger.models.http import KEPT
from ledger.shelf.folder import sweep_drafts
from ledger.workflow.kept_bundles import make_room
from ledger.workflow.uploads import sweep_uploads


def tidy() -> None:
    """Forget answers that are too old to be given again, buckets that are full again, uploads that were left
    behind, bundles that nobody has come back for. Safe anywhere.
    """
    now = timezone.now()
    KeptAnswer.objects.filter(created_at__lt=now - KEPT).delete()
    RateBucket.objects.filter(full_until__lt=now).delete()
    sweep_uploads()
    make_room()


def tidy_files() -> int:
    """Destroy what killed processes left half-written in the folder of files; returns how many. Once a day will do:
    it looks at every file. Safe anywhere.
    """
    return sweep_drafts(settings.LEDGER_DATA_DIR / "blobs")
