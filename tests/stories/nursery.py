"""Programs of the project as processes of their own, from a parent that has imported what they need.

Twenty interpreters that each load torch would take minutes before any of them did anything. So one process loads
it and forks: every agent is a real process, with a pid to kill, and its main is the one of the command line.

    python -m tests.stories.nursery          requests on stdin, one JSON object a line; pids on stdout

A request names module, argv and a file `out` for stdout and stderr; `out`.status appears with the exit status.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[2]


class Process:
    """A process that the nursery has forked."""

    def __init__(self, pid: int, out: Path) -> None:
        self.pid, self.out = pid, out
        self._status = out.with_name(out.name + ".status")

    @property
    def text(self) -> str:
        """What it has written so far."""
        return self.out.read_text() if self.out.exists() else ""

    @property
    def ended(self) -> bool:
        return self._status.exists()

    def wait(self, patience: float = 120.0) -> int:
        """Its exit status; negative numbers are signals."""
        await_that(lambda: self.ended, patience, lambda: f"{self.out} has not ended:\n{self.text[-2000:]}")
        return int(self._status.read_text())

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)


class Nursery:
    """Context manager: a parent for programs."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self._parent = subprocess.Popen(
            [sys.executable, "-m", "tests.stories.nursery"], cwd=ROOT, env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._parent.stdin is not None
        self._parent.stdin.close()  # ends it, and it ends whoever still runs
        self._parent.wait(30)
        assert self._parent.stdout is not None
        self._parent.stdout.close()

    def start(self, module: str, *argv: Any, out: Path) -> Process:
        """Fork a process that calls the module's main."""
        out.parent.mkdir(parents=True, exist_ok=True)
        request = {"module": module, "argv": [str(part) for part in argv], "out": str(out)}
        assert self._parent.stdin is not None
        assert self._parent.stdout is not None
        with self._lock:  # threads tell the stories of several clients at once
            print(json.dumps(request), file=self._parent.stdin, flush=True)
            return Process(int(self._parent.stdout.readline()), out)


def await_that(holds: Any, patience: float, complaint: Any) -> None:
    """Wait until holds() is true."""
    deadline = time.monotonic() + patience
    while not holds():
        assert time.monotonic() < deadline, complaint()
        time.sleep(0.05)


def _serve() -> None:
    for name in ("torch", "prover_worker.ezkl_backend", "prover_worker.agent", "prover_worker.adversary"):
        importlib.import_module(name)
    from unlearning import backbones, lattice, recipe  # noqa: F401 - what agents import when they need it

    backbones.build(backbones.DIGITS_VIT)  # timm comes in with the first model
    outs: dict[int, Path] = {}
    while True:
        ready, _, _ = select.select([0], [], [], 0.05)
        if ready:
            line = sys.stdin.buffer.raw.readline()  # unbuffered, or select would miss what was read ahead
            if not line:
                break
            request = json.loads(line)
            pid = os.fork()
            if pid == 0:
                _become(request)
            outs[pid] = Path(request["out"])
            print(pid, flush=True)  # noqa: T201 - the answer
        _reap(outs)
    for pid in outs:
        os.kill(pid, signal.SIGKILL)


def _reap(outs: dict[int, Path]) -> None:
    while outs:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        out = outs.pop(pid)
        partial = out.with_name(out.name + ".part")
        partial.write_text(str(os.waitstatus_to_exitcode(status)))
        partial.rename(out.with_name(out.name + ".status"))


def _become(request: dict[str, Any]) -> None:
    """In the child: what the command line would be."""
    descriptor = os.open(request["out"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (descriptor, 1), (descriptor, 2)):
        os.dup2(source, target)
    os.setsid()
    status = 70
    try:
        status = importlib.import_module(request["module"]).main(request["argv"]) or 0
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    except BaseException:  # noqa: BLE001 - the end of the process
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    _serve()
