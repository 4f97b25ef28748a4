"""Making a backup while everything runs.

1. One snapshot of the database: the log's head, the names of all files, and a dump, which agree with each other.
2. The files, which are older than the rows that name them; what the folder has from an earlier backup stays.
3. The manifest.

Keys are not among them: together with the database they open the vault. `ledger.backup.keysfile` keeps them apart.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from ledger import blobs, log
from ledger.backup import manifest, postgres
from ledger.backup.errors import BackupError
from ledger.models import Blob

Report = Callable[[str, int, int], None]


def make_backup(folder: Path, report: Report, *, files: bool = True) -> manifest.Manifest:
    """Write a backup into `folder`, over the one that is there; `report` is told (stage, done, total).

    With `files` off the blobs are left out. Raises BackupError, and RuntimeError inside a transaction.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    (folder / manifest.NAME).unlink(missing_ok=True)  # until the end this is no backup
    report("database", 0, 1)
    with transaction.atomic(durable=True), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        cursor.execute("SELECT pg_export_snapshot()")
        snapshot: str = cursor.fetchone()[0]
        entries = log.size()
        root, head = log.root_at(entries).hex(), log.latest_checkpoint()
        names = dict(Blob.objects.order_by("sha256").values_list("sha256", "size"))
        postgres.dump(snapshot, folder / manifest.DUMP)
    (folder / manifest.DUMP).chmod(0o600)
    report("database", 1, 1)
    if files:
        _copy_files(folder, names, report)
    with (folder / manifest.DUMP).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    made = manifest.Manifest(
        made_at=timezone.now(), origin=settings.LEDGER_ORIGIN, entries=entries, root=root,
        checkpoint="" if head is None else head.note, dump_sha256=digest, files=names, files_kept=files,
    )  # fmt: skip
    manifest.write(folder, made)
    return made


def _copy_files(folder: Path, names: dict[str, int], report: Report) -> None:
    for done, (sha256, size) in enumerate(names.items()):
        target = folder / blobs.key(sha256)
        if not (target.exists() and target.stat().st_size == size):
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            draft = target.with_name(f".{target.name}")
            try:
                with blobs.open_checked(sha256) as source, draft.open("wb") as file:
                    shutil.copyfileobj(source, file, 1024 * 1024)
            except blobs.BlobError as error:
                raise BackupError(f"the ledger itself is damaged: {error}") from error
            draft.replace(target)
        report("files", done + 1, len(names))
