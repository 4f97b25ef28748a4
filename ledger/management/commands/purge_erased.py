"""`manage.py purge_erased`: rewrite the vault's table without the dead rows of erased records."""

from __future__ import annotations

from typing import Any

from ledger.management.base import LedgerCommand
from ledger.vault import purge


class Command(LedgerCommand):
    """Needs the role that owns the tables; locks the vault for a moment."""

    help = "Rewrite the vault's table file, so that nothing of erased records is left in it."

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(f"{purge()} erased records are gone from the table's file")
