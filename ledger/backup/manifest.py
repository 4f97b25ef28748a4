"""`manifest.json` of a backup, written last: a folder without it is an unfinished backup.

The log's size and root and the last published checkpoint are those of the dump's snapshot. `files` are the blobs
that rows of the dump name; they lie beside it as blobs/ab/cdef…, and may be older than it: files never change.
"""

from __future__ import annotations

import hashlib
import os
from datetime import datetime
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ledger.backup.errors import BackupError

NAME: Final = "manifest.json"
DUMP: Final = "database.dump"


class Manifest(BaseModel):
    """What a backup holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = 1
    made_at: datetime
    origin: str
    entries: int = Field(ge=0)
    root: str
    checkpoint: str  # the note; empty if none was published
    dump_sha256: str
    files: dict[str, int]  # SHA-256: bytes
    files_kept: bool  # False: they are in a bucket that is backed up by other means


def write(folder: Path, manifest: Manifest) -> None:
    """Aside, then renamed."""
    draft = folder / f".{NAME}"
    with draft.open("w") as file:
        file.write(manifest.model_dump_json(indent=1))
        file.flush()
        os.fsync(file.fileno())
    draft.replace(folder / NAME)


def read(folder: Path) -> Manifest:
    """The manifest, with the dump checked against it. Raises BackupError."""
    try:
        manifest = Manifest.model_validate_json((folder / NAME).read_bytes())
        with (folder / DUMP).open("rb") as file:
            got = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BackupError(f"{folder} is no finished backup: {error.filename}: {error.strerror}") from error
    except ValidationError as error:
        raise BackupError(f"{folder / NAME} cannot be read: {error.errors()[0]['msg']}") from error
    if got != manifest.dump_sha256:
        raise BackupError(
            f"{folder / DUMP} has SHA-256 {got}, expected {manifest.dump_sha256}: it was damaged, "
            "use another backup"
        )
    return manifest
