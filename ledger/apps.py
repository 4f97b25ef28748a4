"""The Django app of the ledger."""

from __future__ import annotations

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class LedgerConfig(AppConfig):
    """Registers the system checks and the roles when Django is ready."""

    name = "ledger"
    verbose_name = "Unlearning ledger"

    def ready(self) -> None:
        """Import the checks: their decorators register them. Groups follow the table of roles, pages the reader."""
        from ledger import checks, production, texts  # noqa: F401
        from ledger.access import roles

        texts.translate_tables()  # before the admin reads what tables say
        post_migrate.connect(roles.follow, sender=self, dispatch_uid="ledger.access.roles")
