"""`manage.py backup`: database and files, or the keys, while everything runs."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from ledger.backup.errors import BackupError
from ledger.backup.keysfile import save_keys
from ledger.backup.making import make_backup
from ledger.backup.options import add_place, passphrase
from ledger.management.base import LedgerCommand


class Command(LedgerCommand):
    """Two calls, for two places: whoever has both has everything."""

    help = (
        "Back up database and files into DIR, over an earlier backup there; or, with --keys FILE, the signing keys "
        "and secrets, under the passphrase in LEDGER_BACKUP_PASSPHRASE. Keep the two apart."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        add_place(parser)
        parser.add_argument("--without-files", action="store_true", help="they are in a bucket that is backed up")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            if options["keys"]:
                count = save_keys(options["keys"], passphrase())
                self.stdout.write(f"{count} keys and secrets in {options['keys']}")
                return
            made = make_backup(options["folder"], lambda *_: None, files=not options["without_files"])
        except BackupError as error:
            raise CommandError(str(error)) from error
        size = f"{len(made.files)} files of {sum(made.files.values())} bytes"
        self.stdout.write(
            f"{made.entries} entries, {size if made.files_kept else 'no files'} in {options['folder']}"
        )
