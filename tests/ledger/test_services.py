"""Worker and web server end with whoever started them, however that ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.shared import put_cluster

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
import django, time
django.setup()
from ledger.services import Services, free_port
with Services(free_port()):
    print("up", flush=True)
    time.sleep(300)
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """That of processes of an installation with database and keys."""
    folder = tmp_path_factory.mktemp("installation")
    put_cluster(tmp_path_factory, folder)
    made = {**os.environ, "LEDGER_DATA_DIR": str(folder), "DJANGO_SETTINGS_MODULE": "ledger.settings"}
    command = [sys.executable, "manage.py", "init"]
    subprocess.run(command, cwd=ROOT, env=made, check=True, timeout=120, capture_output=True)
    return made


@pytest.mark.slow
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_services_end_with_their_parent(ending: signal.Signals, environment: dict[str, str]) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "up\n"
        children = psutil.Process(parent.pid).children(recursive=True)
        assert len(children) >= 4  # worker with beat and a child, web server with two
        os.kill(parent.pid, ending)
        parent.wait(60)
    deadline = time.monotonic() + 60
    while alive := [child for child in children if child.is_running() and child.status() != "zombie"]:
        assert time.monotonic() < deadline, [child.cmdline() for child in alive]
        time.sleep(0.2)
