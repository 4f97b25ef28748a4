"""One agent at a time in a state folder, and folders of one schema only.

The lock is the kernel's (flock on folder.lock), so it ends with the process however that ends. Who holds it
stands in folder.json, for people.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import IO, Any, Final

from prover_worker.agent_state import PARTIAL, Folder
from prover_worker.disks import room_for
from prover_worker.errors import AgentError

#: 1 had no folder.json, and of the files that came later it has none; every agent since reads it.
SCHEMA: Final = 2


def check_schema(folder: Folder) -> None:
    """Raise AgentError for a folder that a newer agent has written."""
    found = _known(folder).get("schema", 1)
    if not isinstance(found, int) or found > SCHEMA:
        raise AgentError(
            f"{folder.path} was written by a newer agent (schema {found}, this one knows {SCHEMA}): "
            "upgrade the agent"
        )


@contextmanager
def held(folder: Folder, command: str) -> Iterator[None]:
    """Hold the folder while the block runs, and begin by removing what a killed agent left half-written.

    Raises AgentError if another process holds it, naming that process.
    """
    with room_for("folder.lock", folder.path):
        folder.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.file("folder.lock").touch(mode=0o600)
    with folder.file("folder.lock").open("a") as lock:
        _take(lock, folder)
        check_schema(folder)
        for left in folder.path.rglob(f".*{PARTIAL}"):
            left.unlink(missing_ok=True)
        since = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        folder.write_json(
            "folder.json", {"schema": SCHEMA, "holder": {"pid": os.getpid(), "command": command, "since": since}}
        )
        yield


def _take(lock: IO[str], folder: Folder) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = _known(folder).get("holder", {})
        raise AgentError(
            f"another agent works in {folder.path}: process {holder.get('pid', 'unknown')}, "
            f"`{holder.get('command', 'unknown')}` since {holder.get('since', 'unknown')}; wait until it is done, "
            "or stop it (it can be stopped at any time)"
        ) from error


def _known(folder: Folder) -> dict[str, Any]:
    return folder.read_json("folder.json") if folder.has("folder.json") else {}
