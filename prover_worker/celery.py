"""Entry point of worker processes: `celery -A prover_worker.celery worker`."""

from __future__ import annotations

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ledger.settings")
# Celery would run Django's checks, tell nobody what they find, and load the console's pages for it.
os.environ.setdefault("CELERY_SKIP_CHECKS", "1")
django.setup()

from ledger import production  # noqa: E402 - Django's models must be ready first
from ledger.queue import app  # noqa: E402

production.refuse_unsafe()
app.conf.include = ["prover_worker.tasks"]

__all__ = ["app"]
