"""`manage.py reenrol_client UUID`: a client has lost all its keys."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from ledger.management.base import LedgerCommand
from ledger.workflow.client_keys import REASONS
from ledger.workflow.clients import reenrol_client
from ledger.workflow.errors import WorkflowError


class Command(LedgerCommand):
    """Prints the token for the new key, which is kept nowhere."""

    help = "Revoke a client's keys and print a token with which it enrols a new one. Make sure who is asking."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("client", help="the client's UUID")
        parser.add_argument("--reason", choices=REASONS, default="lost")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            client, token = reenrol_client(options["client"], options["reason"])
        except WorkflowError as error:
            raise CommandError(error.sentence) from error
        self.stdout.write(f"client: {client.uuid}")
        self.stdout.write(f"token: {token}")
