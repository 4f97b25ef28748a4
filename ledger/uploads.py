"""Parts of files under way: LEDGER_DATA_DIR/uploads/UPLOAD/NUMBER.SHA256, whole and synced or not there at all.

The names say which parts there are and what is in them, so no table can disagree with the disk. Whoever changes
parts holds the lock of the upload's row.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from django.conf import settings

_PART: Final = re.compile(r"([1-9][0-9]*)\.([0-9a-f]{64})", re.ASCII)
_PIECE: Final = 1024 * 1024  # bytes in memory at a time


@dataclass(frozen=True)
class Part:
    """A part that is there."""

    number: int
    sha256: str
    path: Path

    @property
    def size(self) -> int:
        """Its bytes."""
        return self.path.stat().st_size


def folder() -> Path:
    """Where all uploads lie."""
    path: Path = settings.LEDGER_DATA_DIR / "uploads"
    return path


def parts(upload: uuid.UUID) -> list[Part]:
    """The parts that are there, in order."""
    place = folder() / str(upload)
    if not place.is_dir():
        return []
    matches = ((path, _PART.fullmatch(path.name)) for path in place.iterdir())
    found = [Part(int(match[1]), match[2], path) for path, match in matches if match is not None]
    return sorted(found, key=lambda part: part.number)


def draft(upload: uuid.UUID, data: bytes) -> Path:
    """Write a part aside."""
    place = folder() / str(upload)
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = place / f"draft-{secrets.token_hex(8)}"
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    path.chmod(0o600)
    return path


def keep(upload: uuid.UUID, number: int, sha256: str, written: Path) -> None:
    """Make a draft part `number`, instead of the one that is there."""
    for part in parts(upload):
        if part.number == number:
            part.path.unlink()
    written.replace(written.with_name(f"{number}.{sha256}"))


def read(found: list[Part]) -> Iterator[bytes]:
    """The bytes of these parts, a piece at a time."""
    for part in found:
        with part.path.open("rb") as file:
            while piece := file.read(_PIECE):
                yield piece


def digest(data: bytes) -> str:
    """SHA-256, hex."""
    return hashlib.sha256(data).hexdigest()


def remove(upload: uuid.UUID) -> None:
    """Destroy whatever is there of an upload."""
    shutil.rmtree(folder() / str(upload), ignore_errors=True)


def all_folders() -> list[uuid.UUID]:
    """Every upload of which something is there."""
    return [uuid.UUID(path.name) for path in folder().iterdir()] if folder().is_dir() else []
