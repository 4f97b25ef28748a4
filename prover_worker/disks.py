"""Disks that are full: one sentence that says which, and what to do, instead of an error's number."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from prover_worker.errors import AgentError

#: Of an OSError: no room on the disk, or none left of this account's share.
FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


@contextmanager
def room_for(what: str, folder: Path) -> Iterator[None]:
    """What is written to `folder` inside the block. Raises AgentError where its disk is full; other errors pass."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise AgentError(
            f"the disk that holds {folder} is full, so {what} was not written; make room and run the same command "
            "again, it goes on"
        ) from error
