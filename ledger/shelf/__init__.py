"""Where files lie: in LEDGER_DATA_DIR, or in an object store that all hosts share (LEDGER_BLOB_STORE).

A shelf knows keys (`blobs/ab/cdef…`, `uploads/UPLOAD/3.SHA256`) and bytes, nothing of clients and rows. Whatever
lies under a key is whole: it is written aside on this machine (`draft`), then put there in one step (`keep`).
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

from django.conf import settings

from ledger.shelf.address import Address
from ledger.shelf.folder import Folder


class Shelf(Protocol):
    """A place for files. Each method raises OSError where the place itself fails: full, unreachable, forbidden."""

    def draft(self, key: str) -> Path:
        """A new path on this machine, to write what `keep` shall put under `key`."""

    def keep(self, draft: Path, key: str) -> None:
        """Put a draft under `key`, durable when this returns; the draft is gone."""

    def has(self, key: str) -> bool:
        """Whether something lies there."""

    def size(self, key: str) -> int:
        """Its bytes. Raises FileNotFoundError."""

    def open(self, key: str) -> BinaryIO:
        """Read it from the start. Raises FileNotFoundError."""

    def local(self, key: str, *, anew: bool = False) -> Path:
        """A file of this machine with these bytes; `anew`: not a copy that was fetched before. FileNotFoundError
        comes from here or when the path is opened.
        """

    def rename(self, old: str, new: str) -> None:
        """Move what lies under `old`."""

    def remove(self, prefix: str) -> None:
        """Destroy whatever lies under keys that begin so; nothing there is fine."""

    def names(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Keys that begin with `prefix`, a folder's name with its slash, and their sizes."""


def shelf() -> Shelf:
    """The configured shelf. Raises AddressError."""
    return _made(str(settings.LEDGER_DATA_DIR), settings.LEDGER_BLOB_STORE, settings.LEDGER_BLOB_CACHE, os.getpid())


@functools.lru_cache(maxsize=8)
def _made(data_dir: str, store: str, cache: int, _process: int) -> Shelf:
    """One per process: connections do not survive a fork."""
    if not store:
        return Folder(Path(data_dir))
    from ledger.shelf.s3 import Bucket

    return Bucket(Address.parse(store), Path(data_dir), cache)
