"""`manage.py rotate_master_key`: a new master key for the vault."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError
from rich.console import Console
from rich.progress import Progress

from ledger.kms import KmsError
from ledger.management.base import LedgerCommand
from ledger.vault import VaultError
from ledger.workflow.erase import rotate_master_key


class Command(LedgerCommand):
    """Can be interrupted and run again."""

    help = "Wrap the keys of all sealed records under a new master key, then destroy the old one."

    def handle(self, *args: Any, **options: Any) -> None:
        with Progress(console=Console(stderr=True)) as bars:
            bar = bars.add_task("wrapping data keys anew", total=None)
            try:
                done = rotate_master_key(lambda at, total: bars.update(bar, completed=at, total=total))
            except (VaultError, KmsError) as error:
                raise CommandError(str(error)) from error
        self.stdout.write(f"{done} data keys are wrapped under the current master key")
