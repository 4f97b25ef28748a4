"""`manage.py openapi`: the document of the REST interface, as docs/openapi.yaml holds it."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from ledger.api.openapi import as_yaml


class Command(BaseCommand):
    """Needs no database."""

    help = "Print the OpenAPI document."
    requires_system_checks = []

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(as_yaml(), ending="")
