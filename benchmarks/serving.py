"""A ledger of a benchmark's own in a folder, with an embedded PostgreSQL, and a web server that serves it."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_PATIENCE_SECONDS: Final = 60.0


def open_ledger(folder: Path, settings: str = "ledger.settings") -> None:
    """Start Django on the folder as in production (templates are read once), with a migrated database."""
    os.environ |= {"LEDGER_DATA_DIR": str(folder), "DJANGO_SETTINGS_MODULE": settings}
    os.environ |= dict.fromkeys(("DATABASE_URL", "CELERY_BROKER_URL", "LEDGER_BLOB_STORE", "DJANGO_DEBUG"), "")
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)


def new_ledger(folder: Path, settings: str = "ledger.settings") -> None:
    """The same with keys and an empty log."""
    open_ledger(folder, settings)
    from django.core.management import call_command

    call_command("init", stdout=sys.stderr)


def stop(folder: Path) -> None:
    """Stop the folder's PostgreSQL."""
    from ledger import embedded

    embedded.stop(folder)


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """A gunicorn of two processes with eight threads each, as `manage.py serve` starts it; its address."""
    from ledger.services import free_port

    port = free_port()
    command = ["-m", "gunicorn", "ledger.wsgi", "-b", f"127.0.0.1:{port}", "-w", "2", "--threads", "8"]
    with (folder / "web.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, *command], stdout=log, stderr=log)
        try:
            address = f"http://127.0.0.1:{port}"
            _wait_for(address, folder / "web.log")
            yield address
        finally:
            process.terminate()
            process.wait(30)


def _wait_for(address: str, log: Path) -> None:
    """Until the server answers; SystemExit with the end of its log if it does not."""
    import httpx2

    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        try:
            if httpx2.get(f"{address}/checkpoint").status_code == 200:
                return
        except httpx2.HTTPError:
            time.sleep(0.2)
    raise SystemExit(f"the web server did not start in {_PATIENCE_SECONDS:.0f} s:\n{log.read_text()[-2000:]}")


def p99(values: Sequence[float]) -> float:
    """The 99th percentile; 0 of fewer than two values."""
    return statistics.quantiles(values, n=100)[98] if len(values) > 1 else 0.0
