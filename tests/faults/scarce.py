"""Machines that have too little: a memory group, in which the kernel really kills, and a disk of any size."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Final, Self

import psutil

from tests.stories.nursery import await_that

_FIRST: Final = Path("/sys/fs/cgroup/memory")
_SECOND: Final = Path("/sys/fs/cgroup")
_numbers = itertools.count()


class MemoryGroup:
    """Context manager: a control group. Memory is short in it once `leave` says so: the kernel kills then.

    What a process held before it came in stays on its former group's account. Raises OSError where no group can be
    made.
    """

    def __init__(self) -> None:
        self._first = (_FIRST / "memory.limit_in_bytes").exists()
        self.path = (_FIRST if self._first else _SECOND) / f"ledger-faults-{os.getpid()}-{next(_numbers)}"

    def __enter__(self) -> Self:
        self.path.mkdir()
        self.leave(1 << 30)
        return self

    def __exit__(self, *_: object) -> None:
        for pid in self._file("cgroup.procs").split():
            psutil.Process(int(pid)).kill()
        await_that(lambda: not self._file("cgroup.procs"), 30, lambda: self._file("cgroup.procs"))
        self.path.rmdir()

    def take(self, pid: int) -> None:
        """Put a process into it, and with it what it will start."""
        (self.path / "cgroup.procs").write_text(str(pid))

    def leave(self, room: int) -> None:
        """Allow what is held now, without what the kernel keeps of files, and `room` bytes more."""
        inside, deadline = [int(pid) for pid in self._file("cgroup.procs").split()], time.monotonic() + 30
        _signal(inside, signal.SIGSTOP)  # or they would take more while it is counted
        try:
            while not self._left(room):
                assert time.monotonic() < deadline, self._file("memory.stat")
        finally:
            _signal(inside, signal.SIGCONT)

    def _left(self, room: int) -> bool:
        limit, usage = ("limit_in_bytes", "usage_in_bytes") if self._first else ("max", "current")
        held = int(self._file(f"memory.{usage}"))
        kept = dict(line.split() for line in self._file("memory.stat").splitlines())
        of_files = sum(int(kept.get(name, 0)) for name in ("inactive_file", "active_file"))
        try:
            (self.path / f"memory.{limit}").write_text(str(max(0, held - of_files) + room))
        except OSError as error:
            if error.errno != errno.EBUSY:  # more is held by now
                raise
            return False
        return True

    @property
    def kills(self) -> int:
        """How many processes the kernel has killed here."""
        said = self._file("memory.oom_control" if self._first else "memory.events")
        return int(dict(line.split() for line in said.splitlines())["oom_kill"])

    def _file(self, name: str) -> str:
        return (self.path / name).read_text()


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def proves(pid: int) -> bool:
    """Whether ezkl has been given a witness in this process or in one that it has started."""
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return any(link.startswith("/memfd:witness") for one in family for link in _files(one.pid))


def _files(pid: int) -> list[str]:
    """What a process has open; less where it closes something, or ends, meanwhile."""
    found: list[str] = []
    with contextlib.suppress(OSError):
        found.extend(str(path.readlink()) for path in Path(f"/proc/{pid}/fd").iterdir())
    return found


class Disk:
    """Context manager: a file system of its own, of 64 MB until `leave` says otherwise."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True)

    def __enter__(self) -> Self:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(self.path)], check=True)
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", str(self.path)], check=True)

    def leave(self, room: int) -> None:
        """Be as large as what is there now and `room` bytes more."""
        size = max(4096, shutil.disk_usage(self.path).used + room)  # 0 would be without end
        subprocess.run(["mount", "-o", f"remount,size={size}", str(self.path)], check=True)
