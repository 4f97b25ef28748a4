"""`manage.py restore`: a backup into an empty database, checked; or keys into an empty folder."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from ledger.backup.errors import BackupError
from ledger.backup.keysfile import restore_keys
from ledger.backup.options import add_place, passphrase
from ledger.backup.restoring import restore_backup
from ledger.management.base import LedgerCommand


class Command(LedgerCommand):
    """Exit status 0: all is there and holds. 1: it could not be restored. 3: witnesses have seen a longer log."""

    help = (
        "Restore the keys first (--keys FILE), then the backup in DIR into the empty database of DATABASE_URL. "
        "Everything is checked, and the witnesses are asked whether this is the newest copy."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        add_place(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            if options["keys"]:
                count = restore_keys(options["keys"], passphrase())
                self.stdout.write(f"{count} keys and secrets restored")
                return
            done = restore_backup(options["folder"], lambda *_: None)
        except BackupError as error:
            raise CommandError(str(error)) from error
        when = done.manifest.made_at.isoformat(timespec="seconds")
        self.stdout.write(f"{done.manifest.entries} entries as of {when} restored, and they hold")
        for words in done.unheard:
            self.stderr.write(f"a witness could not say whether this is the newest copy: {words}")
        if done.alarms:
            alarms = "; ".join(done.alarms)
            sentence = (
                f"this is not the newest copy: {alarms}. Do not start the ledger on it: see docs/operations.md"
            )
            raise CommandError(sentence, returncode=3)
