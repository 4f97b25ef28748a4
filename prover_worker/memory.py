"""How many proving processes the machine's free memory takes, and how much one has taken.

A process that proves peaks at some 2.3 times its proving key above the 60 MB of the interpreter and its libraries,
if it stays for both kinds of proofs (docs/results/proving.md, "Memory"). 2.5, and 150 MB, leave some room.
"""

from __future__ import annotations

import logging
import resource
from pathlib import Path
from typing import Final

from prover_worker.backend import CircuitFiles

logger = logging.getLogger(__name__)

_PER_KEY_BYTE: Final = 2.5
_BASE_BYTES: Final = 150_000_000
_MEMINFO: Final = Path("/proc/meminfo")
_CGROUP: Final = Path("/sys/fs/cgroup")
_STATUS: Final = Path("/proc/self/status")


def fitting_jobs(wanted: int, circuit: CircuitFiles) -> int:
    """`wanted`, or fewer where they would not fit into what is free now; at least one."""
    free = free_bytes()
    if free is None or circuit.pk is None:
        return wanted
    each = _BASE_BYTES + int(_PER_KEY_BYTE * circuit.pk.stat().st_size)
    fitting = max(1, min(wanted, free // each))
    if fitting < wanted:
        logger.warning(
            "%d MB of memory are free and a proving process takes some %d MB: %d instead of %d processes",
            free // 10**6, each // 10**6, fitting, wanted,
        )  # fmt: skip
    return fitting


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


def free_bytes(meminfo: Path = _MEMINFO, cgroup: Path = _CGROUP) -> int | None:
    """Memory that could be used now: the machine's, or what a control group (v2) leaves, if that is less.

    None where neither says.
    """
    found = [value for value in (_available(meminfo), _left(cgroup)) if value is not None]
    return min(found) if found else None


def _available(meminfo: Path) -> int | None:
    try:
        lines = meminfo.read_text().splitlines()
    except OSError:
        return None
    amounts = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return int(amounts[0]) * 1024 if amounts else None


def _left(cgroup: Path) -> int | None:
    try:
        most, used = ((cgroup / name).read_text().strip() for name in ("memory.max", "memory.current"))
        statistics = dict(line.split() for line in (cgroup / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return None
    if most == "max":
        return None
    cached = int(statistics.get("inactive_file", 0))  # given back under pressure
    return max(0, int(most) - int(used) + cached)
