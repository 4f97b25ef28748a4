"""`manage.py rotate_key provider|log`: a new key, vouched for by the old one."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from ledger import keys
from ledger.management.base import LedgerCommand
from ledger.statements.errors import KeyMaterialError
from ledger.statements.keys import public_hex
from ledger.workflow.rotation import rotate_key


class Command(LedgerCommand):
    """Prints the new public key, to be published beside the old one."""

    help = "Replace the provider's or the log's signing key; the rotation is logged, signed by old and new key."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("role", choices=sorted(keys.FILES))

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            entry = rotate_key(options["role"])
            key = keys.log_signer().vkey if options["role"] == "log" else public_hex(keys.provider_key())
        except KeyMaterialError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{options['role']} key from log entry {entry.index} on: {key}")
        retired = keys.path(f"{options['role']}.retired-*.pem")
        self.stdout.write(f"the old key is kept as {retired}: move it to a safe place, or destroy it")
