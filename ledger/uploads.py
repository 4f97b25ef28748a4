"""Parts of files under way: `uploads/UPLOAD/NUMBER.SHA256` on the shelf, whole and durable or not there at all.

The names say which parts there are and what is in them, so no table can disagree with the shelf. Whoever changes
parts holds the lock of the upload's row.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from ledger.shelf import shelf

_PART: Final = re.compile(r"([1-9][0-9]*)\.([0-9a-f]{64})", re.ASCII)
_ROOT: Final = "uploads/"
_PIECE: Final = 1024 * 1024  # bytes in memory at a time


@dataclass(frozen=True)
class Part:
    """A part that is there."""

    number: int
    sha256: str
    key: str
    size: int


def parts(upload: uuid.UUID) -> list[Part]:
    """The parts that are there, in order."""
    place = f"{_ROOT}{upload}/"
    found = [
        Part(int(match[1]), match[2], key, size)
        for key, size in shelf().names(place)
        if (match := _PART.fullmatch(key.removeprefix(place))) is not None
    ]
    return sorted(found, key=lambda part: part.number)


def draft(upload: uuid.UUID, data: bytes) -> str:
    """Write a part aside; returns its key."""
    key = f"{_ROOT}{upload}/draft-{secrets.token_hex(8)}"
    path = shelf().draft(key)
    try:
        path.write_bytes(data)
        shelf().keep(path, key)
    finally:
        path.unlink(missing_ok=True)
    return key


def drop(key: str) -> None:
    """Destroy a draft that is not to be a part."""
    shelf().remove(key)


def keep(upload: uuid.UUID, number: int, sha256: str, written: str) -> None:
    """Make a draft part `number`, instead of the one that is there."""
    for part in parts(upload):
        if part.number == number:
            shelf().remove(part.key)
    shelf().rename(written, f"{_ROOT}{upload}/{number}.{sha256}")


def read(found: list[Part]) -> Iterator[bytes]:
    """The bytes of these parts, a piece at a time."""
    for part in found:
        with shelf().open(part.key) as file:
            while piece := file.read(_PIECE):
                yield piece


def digest(data: bytes) -> str:
    """SHA-256, hex."""
    return hashlib.sha256(data).hexdigest()


def remove(upload: uuid.UUID) -> None:
    """Destroy whatever is there of an upload."""
    shelf().remove(f"{_ROOT}{upload}/")


def all_folders() -> list[uuid.UUID]:
    """Every upload of which something is there."""
    names = {key.removeprefix(_ROOT).split("/", 1)[0] for key, _ in shelf().names(_ROOT)}
    return [uuid.UUID(name) for name in sorted(names)]
