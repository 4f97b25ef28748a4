"""Audit bundles that were handed out, kept for whoever comes back for the rest of one: `bundles/QUESTION.DIGEST`.

They lie in the data folder of the host that made them. QUESTION is a digest of everything that a bundle's bytes
depend on, DIGEST that of the bytes; so a copy is never out of date, and may be lost at any time.

1. Whoever asks holds the lock of the question: of eight ranges that are asked for at once, one is made and seven
   are read.
2. Room is made first: what nobody has asked for in LEDGER_BUNDLE_SECONDS goes, and of the rest, beyond
   LEDGER_BUNDLE_CACHE bytes, what was not asked for the longest. A file that is being sent stays whole to the end.
3. The bundle is written aside, and appears whole and synced.
4. A disk that is full gets all of the room back.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from django.conf import settings

from ledger.shelf.folder import Folder, sweep_drafts


def kept_or_written(question: bytes, write: Callable[[BinaryIO], int]) -> tuple[BinaryIO, str]:
    """The bundle that answers `question`, open at its beginning, and its SHA-256 in hex; `write` makes it.

    Raises what `write` does, and OSError.
    """
    name = hashlib.sha256(question).hexdigest()
    with _locked(name):
        return _kept(name) or _written(name, write)


def make_room(most: int | None = None) -> int:
    """Destroy copies that are too old, and the oldest beyond `most` bytes; returns how many. Safe anywhere."""
    left = settings.LEDGER_BUNDLE_CACHE if most is None else most
    oldest = time.time() - settings.LEDGER_BUNDLE_SECONDS
    gone = 0
    for used, size, path in sorted(_copies(), reverse=True):
        left -= size
        if left < 0 or used <= oldest:
            path.unlink(missing_ok=True)
            gone += 1
    return gone + sweep_drafts(_folder())


def _folder() -> Path:
    return Path(settings.LEDGER_DATA_DIR, "bundles")


def _copies() -> Iterator[tuple[float, int, Path]]:
    """When last asked for, bytes, and where."""
    for path in _folder().glob("[0-9a-f]*.*"):
        with suppress(FileNotFoundError):  # another process has just made room
            said = path.stat()
            yield said.st_mtime, said.st_size, path


@contextmanager
def _locked(name: str) -> Iterator[None]:
    """One of 256 locks: most of the time nobody else wants it."""
    folder = _folder() / "locks"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / name[:2]).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _kept(name: str) -> tuple[BinaryIO, str] | None:
    for path in _folder().glob(f"{name}.*"):
        with suppress(FileNotFoundError):
            file = path.open("rb")
            with suppress(FileNotFoundError):
                os.utime(path)
            return file, path.suffix[1:]
    return None


def _written(name: str, write: Callable[[BinaryIO], int]) -> tuple[BinaryIO, str]:
    make_room()
    folder = Folder(_folder())
    draft = folder.draft(name)
    try:
        with draft.open("xb+") as file:
            write(file)
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        folder.keep(draft, f"{name}.{digest}")
    except OSError:
        make_room(0)
        raise
    finally:
        draft.unlink(missing_ok=True)
    return (_folder() / f"{name}.{digest}").open("rb"), digest
