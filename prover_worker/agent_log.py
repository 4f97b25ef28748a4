"""The agent's log: logs/agent.log in the state folder, for whoever is asked for help.

It says what was done and when, which requests were made (at level debug) and what went wrong. It never holds
keys, tokens, seeds, weights or data: nothing that is given to it has any. Five files of a megabyte are kept.
"""

from __future__ import annotations

import logging
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from logging.handlers import RotatingFileHandler
from typing import Final

from prover_worker.agent_state import Folder
from prover_worker.disks import room_for

LEVELS: Final = ("debug", "info", "warning", "error")
NAME: Final = "agent.log"
_BYTES, _FILES = 1_000_000, 5
_LOGGER: Final = "prover_worker"


@contextmanager
def logging_to(folder: Folder, level: str) -> Iterator[None]:
    """Write this package's log records to the folder's log while the block runs."""
    logs = folder.sub("logs").path
    with room_for("logs", folder.path):
        logs.mkdir(parents=True, exist_ok=True, mode=0o700)
        handler = _Log(logs / NAME, maxBytes=_BYTES, backupCount=_FILES - 1, encoding="utf-8")
    formatter = logging.Formatter("%(asctime)s %(process)d %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%SZ")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    shown = _Shown(logging.WARNING)
    logger = logging.getLogger(_LOGGER)
    before = logger.level
    logger.setLevel(level.upper())
    for each in (handler, shown):
        logger.addHandler(each)
    try:
        yield
    finally:
        logger.setLevel(before)
        for each in (handler, shown):
            logger.removeHandler(each)
            each.close()


class _Log(RotatingFileHandler):
    """The file. A disk that is full must not stop the agent, which has more important things to write."""

    def handleError(self, _record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Go on without this line."""

    def close(self) -> None:
        """Go without those that are still to be written."""
        with suppress(OSError):
            super().close()


class _Shown(logging.Handler):
    """What the person at the keyboard should see: warnings. Errors end the command, which says them itself."""

    def emit(self, record: logging.LogRecord) -> None:
        """One line on stderr, above any progress bar."""
        if record.levelno == logging.WARNING:
            print(f"agent: {record.getMessage()}", file=sys.stderr, flush=True)


def versions() -> dict[str, str]:
    """What the agent consists of, for its log and for support."""
    found = {"python": platform.python_version(), "system": platform.platform()}
    for name in ("unlearning-ledger", "ezkl", "torch", "timm", "zksnake", "cryptography", "httpx2"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # run from a source folder, without being installed
            found[name] = "not installed"
    return found
