"""`manage.py init`: make the provider's keys, once."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from ledger import keys
from ledger.statements.keys import load_private, public_hex


class Command(BaseCommand):
    """Makes what is missing, leaves the rest alone, prints what others need to know."""

    requires_system_checks: list[str] = []  # they would complain about the keys that are made here
    help = "Create the log's and the provider's signing keys if missing; print both public keys."

    def handle(self, *args: Any, **options: Any) -> None:
        for path in keys.create_missing():
            self.stderr.write(f"made {path}")
        self.stdout.write(f"log key: {keys.stored_signer().vkey}")
        self.stdout.write(f"provider key: {public_hex(load_private(keys.path(keys.PROVIDER)))}")
