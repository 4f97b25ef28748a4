"""Entry point of worker processes: `celery -A prover_worker.celery worker`."""

from __future__ import annotations

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ledger.settings")
django.setup()

from ledger.queue import app  # noqa: E402 - Django's models must be ready before the queue reads them

app.conf.include = ["prover_worker.tasks"]

__all__ = ["app"]
