"""Commands, system checks, and the real processes: web server and worker beside each other."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.core import checks
from django.core.management import CommandError, call_command

from ledger import embedded, keys, models, queue
from ledger import secrets as ledger_secrets
from tests.ledger.story import Story

ROOT = Path(__file__).resolve().parents[2]
PYTHON = [sys.executable, "-W", "error::UserWarning"]


def problems() -> set[str]:
    return {str(found.id) for found in checks.run_checks() if str(found.id).startswith("ledger.")}


def test_init_makes_keys_once(settings: LazySettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings.LEDGER_DATA_DIR = tmp_path
    assert problems() == {"ledger.W001"}
    call_command("init")
    first = capsys.readouterr()
    call_command("init")
    second = capsys.readouterr()
    assert first.out == second.out
    assert first.err.count("made") == 2
    assert second.err == ""
    assert re.search(r"^log key: localhost/unlearning-ledger\+[0-9a-f]{8}\+", first.out)
    assert re.search(r"^provider key: [0-9a-f]{64}$", first.out, re.MULTILINE)
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "keys").iterdir()} == {0o600}
    assert problems() == set()


def test_checks(settings: LazySettings, tmp_path: Path) -> None:
    assert problems() == set()
    settings.LEDGER_MASTER_KEY = "short"
    assert problems() == {"ledger.E005"}
    settings.LEDGER_MASTER_KEY = "ab" * 32
    settings.LEDGER_ORIGIN = "two words"
    assert problems() == {"ledger.E004"}
    settings.LEDGER_ORIGIN = "log"
    settings.LEDGER_DATA_DIR = tmp_path
    keys.create_missing()
    keys.path(keys.LOG).chmod(0o644)
    assert problems() == {"ledger.E002"}
    (tmp_path / "file").touch()
    settings.LEDGER_DATA_DIR = tmp_path / "file"
    assert "ledger.E003" in problems()


@pytest.mark.django_db
def test_invite_client(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("invite_client", "clinic")
    lines = dict(line.split(": ") for line in capsys.readouterr().out.splitlines())
    assert uuid.UUID(lines["client"]) == models.Client.objects.get().uuid
    assert len(lines["token"]) >= 40
    with pytest.raises(CommandError, match="already"):
        call_command("invite_client", "clinic")


@pytest.mark.django_db
def test_migrations_are_complete() -> None:
    call_command("makemigrations", "ledger", check=True, dry_run=True, verbosity=0)


def test_secrets_are_made_once_and_private(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "secret"
    first = ledger_secrets.file_secret(path)
    assert re.fullmatch(r"[0-9a-f]{64}", first)
    assert ledger_secrets.file_secret(path) == first
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_the_subject_vault_opens_with_its_master_key_only(story: Story, settings: LazySettings) -> None:
    from ledger import vault

    row = vault.seal({"subject": "x"})
    settings.LEDGER_MASTER_KEY = "ab" * 32
    with pytest.raises(vault.VaultError, match="master key"):
        vault.unseal(row)


WORKER = """
import os, django
os.environ["DJANGO_SETTINGS_MODULE"] = "ledger.settings"
django.setup()
from ledger import queue
from ledger.queue import app

@app.task(name=queue.TASK_MASK)
def mask(job_id):
    job = queue.claim_job(job_id)
    if job is not None:
        queue.report_progress(job_id, 0.5, "half way")
        queue.finish(job_id)

@app.task(name=queue.TASK_SWEEP)
def sweep():
    from ledger.workflow.jobs import sweep
    sweep()
"""

ENQUEUE = """
import os, sys, uuid, django
os.environ["DJANGO_SETTINGS_MODULE"] = "ledger.settings"
django.setup()
from ledger import queue
print(queue.enqueue("mask", uuid.uuid4()).uuid)
"""

WAIT = """
import os, sys, time, django
os.environ["DJANGO_SETTINGS_MODULE"] = "ledger.settings"
django.setup()
from ledger.models import Checkpoint, Job
end = time.monotonic() + 60
while (found := (Job.objects.get(uuid=sys.argv[1]).state, Checkpoint.objects.count())) != ("done", 1):
    if time.monotonic() > end:
        sys.exit(f"the job's state and the number of checkpoints after a minute: {found}")
    time.sleep(0.1)
"""


class Installation:
    """A data folder of its own, and processes that use it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "small_worker.py").write_text(WORKER)
        path = os.pathsep.join([str(ROOT), str(folder)])
        self.environment = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("LEDGER_", "DATABASE_", "CELERY_"))
        } | {
            "LEDGER_DATA_DIR": str(folder / "data"), "LEDGER_SWEEP_SECONDS": "1", "PYTHONPATH": path,
            "PYTHONUNBUFFERED": "1",
        }  # fmt: skip
        self.running: list[subprocess.Popen[bytes]] = []

    def run(self, *arguments: str) -> str:
        command = [*PYTHON, *arguments]
        done = subprocess.run(
            command, env=self.environment, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, *arguments], env=self.environment, cwd=self.folder, stdout=log, stderr=log
            )
        self.running.append(process)
        return process

    def stop(self) -> None:
        for process in reversed(self.running):
            process.send_signal(signal.SIGTERM)
        for process in reversed(self.running):
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    made = Installation(tmp_path)
    yield made
    made.stop()


def wait_for(what: str, condition, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.3)


@pytest.mark.slow
def test_web_server_and_worker(installation: Installation) -> None:
    installation.run("manage.py", "init")
    installation.run("manage.py", "migrate", "-v0")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    web = installation.start("web", "-m", "gunicorn", "ledger.wsgi", "-b", f"127.0.0.1:{port}", "-w", "2")
    url = f"http://127.0.0.1:{port}/api/v1"

    def answers() -> bool:
        try:
            return bool(urllib.request.urlopen(f"{url}/releases", timeout=5).status == 200)
        except OSError:  # a busy machine may take longer than that
            return False

    wait_for("the web server", answers)
    imported = Path(f"/proc/{web.pid}/maps").read_text()
    assert "libtorch" not in imported
    assert "ezkl" not in imported
    job = installation.run("-c", ENQUEUE).strip()
    worker = ["-m", "celery", "-A", "small_worker:app", "worker", "-B", "-c", "1", "--loglevel", "INFO"]
    installation.start("worker", *worker)
    installation.run("-c", WAIT, job)  # for the job, and the beat's checkpoint
    spool = installation.folder / "data" / "queue"
    assert (spool / "messages").is_dir()
    postmaster = int((installation.folder / "data" / "postgres" / "postmaster.pid").read_text().split("\n")[0])
    os.kill(postmaster, signal.SIGKILL)
    wait_for("the web server after the database was killed", answers)
    second = installation.run("-c", ENQUEUE).strip()
    installation.run("-c", WAIT, second)
    installation.stop()
    pgdata = installation.folder / "data" / "postgres"
    assert embedded.postmaster(pgdata) is None, "the last process must stop the database"
    assert queue.TASK_MASK.encode() in (installation.folder / "worker.log").read_bytes()
