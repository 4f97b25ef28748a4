"""`manage.py serve`: web server and worker on one machine, until Ctrl-C."""

from __future__ import annotations

import time
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import CommandError, CommandParser

from ledger.demo.officer import known_officer
from ledger.management.base import LedgerCommand
from ledger.services import ServiceError, Services


class Command(LedgerCommand):
    """Keeps both running, and says so when one of them ends."""

    help = "Run the web server and one worker; prints where the admin is."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=int, default=8000)

    def handle(self, *args: Any, **options: Any) -> None:
        call_command("migrate", verbosity=0)
        call_command("init", stdout=self.stderr)
        try:
            with Services(options["port"]) as services:
                self.stdout.write(f"admin: {services.address}/admin/")
                officer = known_officer()
                if officer:
                    self.stdout.write(f"demo officer: {officer['name']}  password: {officer['password']}")
                elif not get_user_model().objects.filter(is_staff=True).exists():
                    self.stdout.write("no officer yet: run `python manage.py createsuperuser`")
                self.stdout.write("Ctrl-C stops it.")
                while True:
                    services.check()
                    time.sleep(1)
        except KeyboardInterrupt:
            self.stdout.write("stopped")
        except ServiceError as error:
            raise CommandError(str(error)) from error
