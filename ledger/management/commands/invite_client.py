"""`manage.py invite_client NAME`: let a client enrol."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from ledger.management.base import LedgerCommand
from ledger.workflow.clients import invite_client
from ledger.workflow.errors import WorkflowError


class Command(LedgerCommand):
    """Prints the client's UUID and its enrolment token, which is kept nowhere."""

    help = "Invite a client: prints its UUID and the token that it enrols with, once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="how officers will call the client; never shown in the log")
        parser.add_argument("--days", type=int, help="how long the token is good for (default: 14)")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            client, token = invite_client(options["name"], options["days"])
        except WorkflowError as error:
            raise CommandError(error.sentence) from error
        self.stdout.write(f"client: {client.uuid}")
        self.stdout.write(f"token: {token}")
