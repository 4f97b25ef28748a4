"""What the ledger's own commands have in common."""

from __future__ import annotations

from django.core.management.base import BaseCommand

from ledger.production import CONFIGURATION


class LedgerCommand(BaseCommand):
    """Checks this machine's configuration before it runs.

    Django's other checks are about the code: `make lint` runs them. They would load the console's pages, half of
    what there is to load.
    """

    requires_system_checks = [CONFIGURATION]
