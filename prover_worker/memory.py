"""How many proving processes the machine's free memory takes, how much one has taken, and how one ended without.

A process that proves peaks at some 2.3 times its proving key above the 60 MB of the interpreter and its libraries,
if it stays for both kinds of proofs (docs/results/proving.md, "Memory"). 2.5, and 150 MB, leave some room.
"""

from __future__ import annotations

import logging
import resource
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from prover_worker.backend import CircuitFiles

logger = logging.getLogger(__name__)

_PER_KEY_BYTE: Final = 2.5
_BASE_BYTES: Final = 150_000_000
_MEMINFO: Final = Path("/proc/meminfo")
_CGROUPS: Final = Path("/sys/fs/cgroup")
_OWN: Final = Path("/proc/self/cgroup")
_STATUS: Final = Path("/proc/self/status")
#: How processes without memory end, as subprocess and multiprocessing say it: by minus the signal.
_STARVED: Final = {
    -signal.SIGKILL: "was killed, as the kernel does where memory runs out",
    -signal.SIGABRT: "gave up (SIGABRT), as Rust code does where it gets no more memory",
}


def needed_bytes(pk: Path | None) -> int | None:
    """What a process takes that proves with this key, a little less or more; None where there is no such file."""
    if pk is None or not pk.exists():
        return None
    return _BASE_BYTES + int(_PER_KEY_BYTE * pk.stat().st_size)


def fitting_jobs(wanted: int, circuit: CircuitFiles) -> int:
    """`wanted`, or fewer where they would not fit into what is free now; at least one."""
    free, each = free_bytes(), needed_bytes(circuit.pk)
    if free is None or each is None:
        return wanted
    fitting = max(1, min(wanted, free // each))
    if fitting * each > free:
        logger.warning("%s: one process is tried, and may be killed for it", balance(each))
    elif fitting < wanted:
        logger.warning("%s: %d instead of %d processes", balance(each), fitting, wanted)
    return fitting


def balance(each: int | None) -> str:
    """What a process that proves takes, `each` bytes, where that is known, and what there is, in words."""
    free = free_bytes()
    there = "nobody knows how much memory is free" if free is None else f"{free // 10**6} MB of memory are free"
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY:
        there += f", of which one process gets no more than {limit // 10**6} MB (`ulimit -v`)"
    return there if each is None else f"a process that proves takes some {each // 10**6} MB, {there}"


def is_starved(status: int) -> bool:
    """Whether a process that has ended so has most likely run out of memory."""
    return status in _STARVED


def how_ended(status: int) -> str:
    """How a process has ended, in words: its exit status, or minus the signal that ended it."""
    if status < 0:
        return _STARVED.get(status, f"was ended by signal {-status}")
    return f"ended with status {status}"


def peak_bytes(status: Path = _STATUS) -> int:
    """The most memory that this process has held since it began (Linux: VmHWM).

    getrusage would not do: what the parent held when it started this process counts there as well.
    """
    try:
        lines = status.read_text().splitlines()
    except OSError:
        lines = []
    amounts = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return 1024 * (int(amounts[0]) if amounts else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def free_bytes(meminfo: Path = _MEMINFO, groups: Path = _CGROUPS, own: Path = _OWN) -> int | None:
    """Memory that could be used now: the machine's, or what this process's control groups leave, if that is less.

    None where nothing says.
    """
    found = [_available(meminfo), *(_left(*group) for group in _groups(groups, own))]
    return min((value for value in found if value is not None), default=None)


def _available(meminfo: Path) -> int | None:
    try:
        lines = meminfo.read_text().splitlines()
    except OSError:
        return None
    amounts = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return int(amounts[0]) * 1024 if amounts else None


def _groups(mounted: Path, own: Path) -> Iterator[tuple[Path, bool]]:
    """The folders of this process's memory groups, from its own to the outermost one, and whether they are of v1.

    In a container the outermost one that can be seen may be its own, whatever the kernel calls it.
    """
    try:
        lines = own.read_text().splitlines()
    except OSError:
        lines = ["0::/"]
    for line in lines:
        _, controllers, path = line.split(":", 2)
        first = "memory" in controllers.split(",")
        if first or not controllers:
            top = mounted / "memory" if first else mounted
            inner = top / path.strip("/")
            yield from ((folder, first) for folder in (inner, *inner.parents) if folder.is_relative_to(top))


def _left(group: Path, first: bool) -> int | None:
    names = (
        ("limit_in_bytes", "usage_in_bytes", "total_inactive_file")
        if first
        else ("max", "current", "inactive_file")
    )
    try:
        most, used = ((group / f"memory.{name}").read_text().strip() for name in names[:2])
        statistics = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return None
    if most == "max":
        return None
    cached = int(statistics.get(names[2], 0))  # given back under pressure
    return max(0, int(most) - int(used) + cached)
