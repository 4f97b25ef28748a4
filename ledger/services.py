"""Worker and web server as child processes, for `manage.py demo` and `manage.py serve`.

Both write to LEDGER_DATA_DIR/logs. Whatever ends this process, they are ended with it: Ctrl-C, SIGTERM and a closed
terminal in good order, and should it be killed outright, the kernel tells them (prctl PR_SET_PDEATHSIG, Linux).
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO, Self

from django.conf import settings

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)
_START_PATIENCE = 60.0
_STOP_PATIENCE = 15.0


class ServiceError(RuntimeError):
    """A process did not start, or ended by itself; the text names its log."""


def _end_with_parent() -> None:
    """Runs in the child between fork and exec."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def free_port() -> int:
    """A TCP port of the loopback interface that nobody uses right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Services:
    """Context manager: `with Services(port)` runs one Celery worker with its beat, and one web server."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self.address = f"http://{host}:{port}"
        self._logs: Path = settings.LEDGER_DATA_DIR / "logs"
        self._bind = f"{host}:{port}"
        self._running: list[tuple[str, subprocess.Popen[bytes], IO[bytes]]] = []

    def __enter__(self) -> Self:
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _interrupt)
        try:
            self._start("worker", "celery", "-A", "prover_worker.celery", "worker", "-B", "-c", "1", "-l", "info")
            self._start(
                "web", "gunicorn", "ledger.wsgi", "-b", self._bind, "-w", "2", "--threads", "8", "-t", "120"
            )
            self._await_web()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def check(self) -> None:
        """Raise ServiceError when one of them has ended."""
        for name, process, _ in self._running:
            if process.poll() is not None:
                raise ServiceError(
                    f"the {name} ended with status {process.returncode}; see {self._logs / name}.log"
                )

    def _start(self, name: str, module: str, *arguments: str) -> None:
        self._logs.mkdir(parents=True, exist_ok=True)
        log = (self._logs / f"{name}.log").open("ab")
        # One thread per process: several torch processes on few cores slow each other down many times over.
        environment = {"OMP_NUM_THREADS": "1", **os.environ, "LEDGER_DATA_DIR": str(settings.LEDGER_DATA_DIR)}
        # A session of its own: Ctrl-C reaches this process only, which then ends its children in order.
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True, env=environment,
            cwd=settings.BASE_DIR, preexec_fn=_end_with_parent,  # noqa: PLW1509 - one system call, no locks
        )  # fmt: skip
        self._running.append((name, process, log))

    def _await_web(self) -> None:
        deadline = time.monotonic() + _START_PATIENCE
        while time.monotonic() < deadline:
            self.check()
            try:
                with urllib.request.urlopen(f"{self.address}/api/v1/releases", timeout=5):  # noqa: S310 - own address
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        raise ServiceError(f"the web server did not answer at {self.address}; see {self._logs / 'web.log'}")

    def _stop(self) -> None:
        for _, process, _ in reversed(self._running):
            if process.poll() is None:
                process.terminate()  # the parent only: it ends its own children in order
        for _, process, log in reversed(self._running):
            try:
                process.wait(_STOP_PATIENCE)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            log.close()
        self._running.clear()
