"""Files in a folder: of one machine, or of a file system that all hosts mount."""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

LEFT_BEHIND: Final = 24 * 3600  # seconds: nobody writes one draft for that long


class Folder:
    """`root`/KEY. A draft lies beside its place, so that one rename puts it there."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def draft(self, key: str) -> Path:
        """Hidden, with a name that no key has."""
        target = self._root / key
        target.parent.mkdir(parents=True, exist_ok=True)
        return target.with_name(f".{target.name[:16]}.{secrets.token_hex(8)}")

    def keep(self, draft: Path, key: str) -> None:
        """Sync, rename, sync the folder: the rename itself must survive a power cut."""
        draft.chmod(0o600)
        with draft.open("rb+") as file:
            os.fsync(file.fileno())
        draft.replace(self._root / key)
        _sync((self._root / key).parent)

    def has(self, key: str) -> bool:
        """Whether the file is there."""
        return (self._root / key).exists()

    def size(self, key: str) -> int:
        """Of the file."""
        return (self._root / key).stat().st_size

    def open(self, key: str) -> BinaryIO:
        """The file."""
        return (self._root / key).open("rb")

    def local(self, key: str, *, anew: bool = False) -> Path:  # noqa: ARG002 - there is no copy
        """The file itself."""
        return self._root / key

    def rename(self, old: str, new: str) -> None:
        """Within one file system."""
        (self._root / new).parent.mkdir(parents=True, exist_ok=True)
        (self._root / old).replace(self._root / new)
        _sync((self._root / new).parent)

    def remove(self, prefix: str) -> None:
        """A folder, if the prefix ends in a slash, else one file."""
        if prefix.endswith("/"):
            shutil.rmtree(self._root / prefix, ignore_errors=True)
        else:
            (self._root / prefix).unlink(missing_ok=True)

    def names(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Drafts have no key."""
        for path in (self._root / prefix).rglob("*"):
            if path.is_file() and not path.name.startswith("."):
                yield path.relative_to(self._root).as_posix(), path.stat().st_size


def sweep_drafts(folder: Path) -> int:
    """Destroy drafts under `folder` that a killed process left; returns how many."""
    before = time.time() - LEFT_BEHIND
    left = [path for path in folder.rglob(".*") if path.is_file() and path.stat().st_mtime < before]
    for path in left:
        path.unlink(missing_ok=True)
    return len(left)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
