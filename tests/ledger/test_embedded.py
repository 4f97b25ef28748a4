"""The embedded PostgreSQL: several processes, kill -9, stale pid files."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from ledger import embedded

SCRIPT = """
import sys, pathlib, psycopg
from ledger import embedded
uri = embedded.address(pathlib.Path(sys.argv[1])).uri()
with psycopg.connect(uri) as connection:
    print(connection.execute("SELECT count(*) FROM pg_database WHERE datname = 'ledger'").fetchone()[0])
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="ledger-pg-"))
    yield path
    embedded.stop(path)
    shutil.rmtree(path, ignore_errors=True)


def count(folder: Path) -> int:
    with psycopg.connect(embedded.address(folder).uri()) as connection:
        row = connection.execute("SELECT count(*) FROM kept").fetchone()
    assert row is not None
    return int(row[0])


def process(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", SCRIPT, str(folder)], stdout=subprocess.PIPE, text=True)


def kill_postmaster(folder: Path) -> int:
    found = embedded.postmaster(folder / "postgres")
    assert found is not None
    os.kill(found.pid, signal.SIGKILL)
    for _ in range(100):
        if embedded.postmaster(folder / "postgres") is None:
            return int(found.pid)
        time.sleep(0.05)
    raise AssertionError("the postmaster survived SIGKILL")


@pytest.mark.slow
def test_it_comes_back_after_kill_9_with_everything_committed(folder: Path) -> None:
    with psycopg.connect(embedded.address(folder).uri()) as connection:
        connection.execute("CREATE TABLE kept AS SELECT generate_series(1, 1000)")
    killed = kill_postmaster(folder)
    assert (folder / "postgres" / "postmaster.pid").read_text().startswith(str(killed))
    assert count(folder) == 1000
    # Worse: the number in the stale file now belongs to somebody else, who is alive.
    kill_postmaster(folder)
    pid_file = folder / "postgres" / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    pid_file.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")
    (socket_lock,) = pid_file.parent.glob(".s.PGSQL.*.lock")
    socket_lock.write_text("\n".join([str(os.getpid()), *socket_lock.read_text().splitlines()[1:]]) + "\n")
    assert count(folder) == 1000
    # And a file that the crash has cut short.
    kill_postmaster(folder)
    pid_file.write_text(f"{os.getpid()}\n")
    assert count(folder) == 1000
    other = process(folder)
    assert other.communicate(timeout=60) == ("1\n", None)
    assert count(folder) == 1000, "the server must outlive another user of it"


@pytest.mark.slow
def test_whoever_leaves_last_stops_the_server_even_one_that_was_started_anew(folder: Path) -> None:
    embedded.address(folder)
    kill_postmaster(folder)
    assert process(folder).communicate(timeout=60) == ("1\n", None)
    assert embedded.postmaster(folder / "postgres") is not None, "this process has not left yet"
    embedded.release(folder)
    assert embedded.postmaster(folder / "postgres") is None
    embedded.release(folder)


@pytest.mark.slow
def test_many_processes_start_one_server_and_the_last_one_stops_it(folder: Path) -> None:
    processes = [process(folder) for _ in range(4)]
    for each in processes:
        assert each.communicate(timeout=120) == ("1\n", None)
        assert each.returncode == 0
    assert embedded.postmaster(folder / "postgres") is None


def test_what_cannot_start_says_where_to_look(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "_ATTEMPTS", 1)
    (folder / "postgres").mkdir()
    (folder / "postgres" / "PG_VERSION").write_text("18\n")
    (folder / "postgres" / "postmaster.opts").touch()  # a server has run here, so nothing may be thrown away
    (folder / "postgres" / "postgresql.conf").touch()
    with pytest.raises(embedded.EmbeddedServerError, match="DATABASE_URL"):
        embedded.address(folder)


@pytest.mark.slow
def test_a_cluster_whose_making_was_interrupted_is_made_anew(folder: Path) -> None:
    """What initdb leaves behind when it is killed: some files, among them the one the wheel goes by."""
    (folder / "postgres" / "base").mkdir(parents=True)
    (folder / "postgres" / "PG_VERSION").write_text("18\n")
    with psycopg.connect(embedded.address(folder).uri()) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert [path.name.split("-")[0] for path in folder.glob("postgres.unfinished-*")] == ["postgres.unfinished"]


@pytest.mark.slow
def test_only_the_servers_own_user_can_open_its_socket(folder: Path) -> None:
    found = embedded.address(folder)
    socket = Path(found.host) / f".s.PGSQL.{found.port}"
    assert socket.stat().st_mode & 0o077 == 0
