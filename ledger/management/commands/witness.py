"""`manage.py witness`: the same program as `python -m ledger.witness`. It uses neither settings nor database."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ledger.statements.errors import KeyMaterialError
from ledger.tlog.errors import NoteError
from ledger.witness.__main__ import add_arguments, run
from ledger.witness.errors import WitnessError


class Command(BaseCommand):
    """Runs a witness until Ctrl-C."""

    requires_system_checks: list[str] = []  # a witness's machine has no ledger to check
    help = "Make a witness's key and print it; with --listen, cosign checkpoints of the logs given."

    def add_arguments(self, parser: CommandParser) -> None:
        add_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            run(options["state"], options["name"], options["log"], options["listen"])
        except (WitnessError, NoteError, KeyMaterialError, OSError) as error:
            raise CommandError(str(error)) from error
