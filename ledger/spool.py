"""Celery's message transport for one machine: message files in a folder, written so that no reader sees half
of one.

Kombu's own filesystem transport opens a file under its final name and fills it afterwards, and a worker that
polls in between reads an empty message; the files that bind queues to exchanges have the same gap. Here
everything is written aside and renamed. Broker URL: ``spool://``.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any, Final

from kombu.transport import TRANSPORT_ALIASES, filesystem
from kombu.utils.json import dumps

TRANSPORT_ALIASES["spool"] = "ledger.spool:Transport"
#: Between two looks of an idle worker into the folder. Kombu's own second would be most of what a short job takes.
POLL_SECONDS: Final = 0.2


def transport_options(folder: Path) -> dict[str, Any]:
    """Kombu's options for a spool in `folder`, which is made if missing. All processes use the same ones."""
    options = {name: folder / name for name in ("messages", "control", "taken")}
    for path in options.values():
        path.mkdir(parents=True, exist_ok=True)
    return {
        "data_folder_in": str(options["messages"]),
        "data_folder_out": str(options["messages"]),
        "control_folder": str(options["control"]),
        "processed_folder": str(options["taken"]),
        "polling_interval": POLL_SECONDS,
    }


def _write_whole(path: Path, text: str) -> None:
    descriptor, draft = tempfile.mkstemp(dir=path.parent, suffix=".draft")
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    Path(draft).replace(path)


class Channel(filesystem.Channel):
    """Kombu's channel with whole writes."""

    def _put(self, queue: str, payload: Any, **_: Any) -> None:
        name = f"{time.time_ns()}_{uuid.uuid4()}.{queue}.msg"
        _write_whole(Path(self.data_folder_out) / name, dumps(payload))

    def _queue_bind(self, exchange: str, routing_key: str, pattern: str, queue: str) -> None:
        file: Path = self._exchange_file(exchange)
        binding = filesystem.exchange_queue_t(routing_key or "", pattern or "", queue or "")
        with (self.control_folder / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            bindings = self.get_table(exchange)
            if binding not in bindings:
                _write_whole(file, dumps([binding, *bindings]))


class Transport(filesystem.Transport):
    """Kombu's transport with our channel."""

    Channel = Channel
