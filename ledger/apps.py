"""The Django app of the ledger."""

from __future__ import annotations

from django.apps import AppConfig


class LedgerConfig(AppConfig):
    """Registers the system checks when Django is ready."""

    name = "ledger"
    verbose_name = "Unlearning ledger"

    def ready(self) -> None:
        """Import the checks: their decorators register them."""
        from ledger import checks  # noqa: F401
