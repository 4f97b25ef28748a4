"""`manage.py messages`: bring the catalogues of the console's words up to date with the code."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from ledger.management import catalogue


class Command(BaseCommand):
    """Needs Babel, which comes with the development tools, and no database."""

    help = "Write ledger/locale/*/LC_MESSAGES/django.po and .mo from the code; say what lacks a translation."
    requires_system_checks = []

    def handle(self, *args: Any, **options: Any) -> None:
        for language in catalogue.LANGUAGES:
            found = catalogue.update(language)
            catalogue.write(language, found)
            lacking = [message.id for message in found if message.id and not catalogue.is_translated(message)]
            self.stdout.write(f"{language}: {len(found)} messages, {len(lacking)} without a translation")
            for text in lacking:
                self.stdout.write(f"  {text!r}")
