"""One item of a run, in a process of its own: what ezkl takes it gives back, and what ends it ends nothing else.

`work_on` is called in a worker's thread; it starts this module as a program, and looks after the lease until that
has ended. Where a process finds no memory, its thread rests before it takes another item: a machine that has more
may take this one meanwhile, and this machine may have more afterwards; else it would use up all attempts at once.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from prover_worker.errors import ProverError
from prover_worker.memory import balance, how_ended, is_starved, needed_bytes
from prover_worker.pool import follow
from prover_worker.prove import measured
from prover_worker.release import kept_files
from prover_worker.work_columns import Made, parse_columns
from prover_worker.work_folder import Site
from prover_worker.work_run import Lease, WorkRun, circuit_of

logger = logging.getLogger(__name__)

_LOOK_SECONDS: Final = 0.5
_REST: Final = 0.25  # of a lease
_GIVEN_UP: Final = 3  # exit status: the reason stands beside the lease
_NO_MEMORY: Final = 4  # exit status


def work_on(site: Site, cache: Path, name: str, item: str, worker: str) -> None:
    """Take an item, if it is to be had, and prove it; whatever becomes of it stands in the shared folder.

    Raises AgentError when the disk of that folder is full.
    """
    run = site.run(name)
    if not run.is_open():
        return
    lease = run.take(item, worker)
    if lease is None:
        return
    start = time.monotonic()
    command = [sys.executable, "-m", __name__, site.path, cache, name, item, lease.path.name, str(os.getpid())]
    child = subprocess.Popen(list(map(str, command)), stdin=subprocess.DEVNULL)
    try:
        stopped = _look_after(child, run, item, lease)
    finally:
        child.kill()
        child.wait()
    starved = not stopped and (is_starved(child.returncode) or child.returncode == _NO_MEMORY)
    reason = _starved(child.returncode, run, cache) if starved else stopped or _ended(child.returncode)
    logger.warning("%s of %s: %s, %.1f s", item, name[:8], reason or "proved", time.monotonic() - start)
    if reason:
        lease.give_up(f"{worker}: {reason}")
    if starved:
        time.sleep(_REST * run.about.terms.lease)


def _look_after(child: subprocess.Popen[bytes], run: WorkRun, item: str, lease: Lease) -> str:
    """Wait for the process while it may run; returns why it may not any more, if it has not ended by itself."""
    terms, start = run.about.terms, time.monotonic()
    touched = start
    while True:
        try:
            child.wait(_LOOK_SECONDS)
        except subprocess.TimeoutExpired:
            now = time.monotonic()
            if not run.waits(item):
                return "taken back"
            if now - start > terms.limit:
                return f"the proof took longer than {terms.limit:g} s"
            if now - touched > terms.lease / 4:
                if not lease.extend():
                    return "taken back"
                touched = now
        else:
            return ""


def _ended(status: int) -> str:
    return f"the proving process {how_ended(status)}" if status else ""


def _starved(status: int, run: WorkRun, cache: Path) -> str:
    how = "got no more memory" if status == _NO_MEMORY else how_ended(status)
    _, pk = kept_files(cache, run.about.circuit)
    return f"the proving process {how} ({balance(needed_bytes(pk))} now)"


def main(arguments: list[str]) -> int:
    """Prove one item: shared folder, folder of keys, run, item, lease's name, parent."""
    folder, cache, name, item, held, parent = arguments
    follow(int(parent))
    run = Site(Path(folder)).run(name)
    try:
        run.hand_in(item, _prove(Site(Path(folder)), Path(cache), run, item))
    except MemoryError:
        return _NO_MEMORY
    except Exception as error:  # noqa: BLE001 - whatever it is, the agent's user is told
        kind = "" if isinstance(error, ProverError) else f"{type(error).__name__}: "
        Lease(run.path / "leases" / held).give_up(f"{kind}{error}")
        return _GIVEN_UP
    return 0


def _prove(site: Site, cache: Path, run: WorkRun, item: str) -> Made:
    from prover_worker.ezkl_backend import EzklBackend

    release = site.release(run.about.circuit).with_keys(EzklBackend(), cache)
    files = release.files(circuit_of(item.split("-", maxsplit=1)[0]))
    proof, figures = measured(EzklBackend(), files, parse_columns(run.columns(item)))
    return Made(proof=proof.hex(), seconds=figures.cpu_seconds, peak_mb=figures.peak_mb)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
