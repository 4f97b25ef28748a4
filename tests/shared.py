"""What the processes of one test run make once and share: a release, a model, a database with all its tables.

Each process that runs tests has fixtures of its own, so what only one of them makes lies in a folder beside theirs.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parent.parent

#: Without fsync: what a killed server has written the system still writes, and no test switches the machine off.
_CLUSTER: Final = """
import os
os.environ["DJANGO_SETTINGS_MODULE"] = "ledger.settings"
import django
django.setup()
from django.conf import settings
from django.core.management import call_command
from ledger import embedded
call_command("migrate", verbosity=0)
embedded.stop(settings.LEDGER_DATA_DIR)
cluster = settings.LEDGER_DATA_DIR / "postgres"
(cluster / ".handle_pids.json").unlink()  # this process's number, in use again one day
with (cluster / "postgresql.conf").open("a") as file:
    file.write("fsync = off\\n")
"""


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """The folder `name` of this run, which the first process that asks for it fills; the others wait for it."""
    mine = factory.getbasetemp()
    root = (mine.parent if "PYTEST_XDIST_WORKER" in os.environ else mine) / "shared"
    root.mkdir(exist_ok=True)
    folder, draft = root / name, root / f"{name}.draft"
    with (root / f"{name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            shutil.rmtree(draft, ignore_errors=True)  # of a process that failed
            draft.mkdir()
            make(draft)
            draft.rename(folder)
    return folder


def put_cluster(factory: pytest.TempPathFactory, data: Path) -> None:
    """Give a data folder its embedded PostgreSQL with all tables, as `migrate` leaves it: by a copy, in a moment.

    Raises FileExistsError if it has one.
    """
    made, mine = once(factory, "cluster", _make_cluster) / "postgres", data / "postgres"
    if mine.exists():
        raise FileExistsError(mine)
    data.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "-a", made, mine], check=True)  # with its owner: as root the server runs as another user


def _make_cluster(folder: Path) -> None:
    others = {"DATABASE_URL", "CELERY_BROKER_URL"}
    kept = {name: value for name, value in os.environ.items() if name not in others}
    done = subprocess.run(
        [sys.executable, "-c", _CLUSTER], cwd=ROOT, env=kept | {"LEDGER_DATA_DIR": str(folder)},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
