"""Restoring a backup into an empty database.

1. The dump is checked against the manifest, and read in one transaction.
2. Files are checked against their names and stored; what is there already stays.
3. The log's head is that of the manifest, and fsck finds nothing. (fsck needs the keys: put them back before.)
4. All witnesses are asked, whatever they have cosigned before: one that has cosigned more entries than the backup
   has knows that it is an older one. Who does not answer is named.

What was logged after the backup is lost. If it was published, nobody outside will take this log for the same any
more: see docs/operations.md, Backup.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.db import connection

from ledger import blobs, log, publication
from ledger.backup import manifest, postgres
from ledger.backup.errors import BackupError
from ledger.fsck.errors import FsckError
from ledger.fsck.run import rebuild
from ledger.models import WitnessState

Report = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Restored:
    """What came of it: `alarms` of witnesses that hold another history, and `unheard` ones, in words."""

    manifest: manifest.Manifest
    alarms: list[str]
    unheard: list[str]


def restore_backup(folder: Path, report: Report) -> Restored:
    """All four steps. Raises BackupError, before anything is changed wherever that can be known before."""
    given = manifest.read(folder)
    _expect_room(given)
    report("database", 0, 1)
    postgres.restore(folder / manifest.DUMP)
    report("database", 1, 1)
    _store_files(folder, given, report)
    _expect_whole(given, report)
    rows = publication.ask_all()
    publication.try_to_publish()
    alarms = [f"{row.name}: {row.message}" for row in rows if row.alarm]
    unheard = [row for row in rows if not row.alarm and row.state != WitnessState.State.COSIGNED]
    return Restored(given, alarms, [f"{row.name}: {row.message or row.get_state_display()}" for row in unheard])


def _expect_room(given: manifest.Manifest) -> None:
    if given.origin != settings.LEDGER_ORIGIN:
        raise BackupError(f"the backup is of the log {given.origin}, but LEDGER_ORIGIN is {settings.LEDGER_ORIGIN}")
    tables = connection.introspection.table_names()
    if tables:
        raise BackupError(
            f"the database is not empty: it has {len(tables)} tables. Restore into a new one, before `migrate`"
        )


def _store_files(folder: Path, given: manifest.Manifest, report: Report) -> None:
    names = given.files if given.files_kept else {}
    for done, sha256 in enumerate(names):
        source = folder / blobs.key(sha256)
        try:
            kept = blobs.keep_file(source, sha256)
        except (OSError, shutil.Error) as error:
            raise BackupError(f"{source} cannot be stored: {error}") from error
        if not kept:
            raise BackupError(f"{source} is not what its name says: it was damaged, use another backup's")
        report("files", done + 1, len(names))


def _expect_whole(given: manifest.Manifest, report: Report) -> None:
    got = log.size(), log.root_at(log.size()).hex()
    if got != (given.entries, given.root):
        raise BackupError(
            f"the log has {got[0]} entries and the root {got[1]}, expected {given.entries}, {given.root}"
        )
    missing = [sha256 for sha256 in given.files if not blobs.there(sha256)]
    if missing:
        raise BackupError(
            f"{len(missing)} files are missing, the first is {missing[0]}: restore them, then run fsck"
        )
    try:
        rebuild(report)
    except FsckError as error:
        raise BackupError(f"the restored log does not hold: {error}") from error
