"""Worker processes for proving, committing and verifying.

Processes, because ezkl's memory is only given back when one ends, because a Rust panic must not take the caller
down, and because ezkl writes to stdout and stderr, where progress is drawn. They end with their parent, whatever
ends it: an exception or a signal ends them at once, and should it be killed outright, the kernel tells them
(prctl PR_SET_PDEATHSIG, Linux).
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from multiprocessing import current_process, get_context, process, resource_tracker
from pathlib import Path
from typing import Any, TypeVar

from prover_worker import memory
from prover_worker.errors import OutOfMemory, ProvingFailed

Result = TypeVar("Result")
_PR_SET_PDEATHSIG = 1
_CURRENT = "_current_process"  # of multiprocessing.process, which has no setter for it


def follow(parent: int) -> None:
    """Begin a process that proves: die at once on signals (Rust code would not notice them for seconds) and with
    the thread of `parent` that made it, be what the kernel kills where memory runs out, keep the terminal clean.

    Without that the kernel would choose by size, and an agent that has a model in memory is larger than a proof.
    But a proof can be made again, and its parent tells the user.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # one that came meanwhile ends us here
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        with suppress(OSError):  # of a kernel that is not asked for it
            Path("/proc/self/oom_score_adj").write_text("1000")
    if os.getppid() != parent:  # it ended before the kernel was asked
        os._exit(1)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)


@contextmanager
def _deaf() -> Iterator[None]:
    """What is started in here hears of Ctrl-C only in `follow`: while it imports, it would print a traceback."""
    resource_tracker.ensure_running()  # or it would be started with the first process, and unblock the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _as_parent() -> Iterator[None]:
    """Celery's workers call themselves daemons, which may have no children lest these outlive them; ours do not."""
    own = current_process()
    if not own.daemon:
        yield
        return
    substitute = process.BaseProcess(daemon=False)
    substitute.authkey = os.urandom(32)  # Celery's own is of a kind that is not handed on
    setattr(process, _CURRENT, substitute)
    try:
        yield
    finally:
        setattr(process, _CURRENT, own)


def run(
    function: Callable[..., Result],
    tasks: Iterable[tuple[Any, ...]],
    jobs: int,
    per_process: int | None = None,
    patience: float | None = None,
    needs: int | None = None,
) -> Iterator[tuple[int, Result]]:
    """Run function(*task) for every task in `jobs` processes; yield (task number, result) as they finish.

    A process ends after `per_process` tasks and another one takes its place; without it all stay to the end.
    Tasks are taken from the iterable only as processes become free, so their inputs never pile up in memory.
    The first exception of a task is raised here, and the other processes are ended; ProvingFailed, when a process
    dies, or when for `patience` seconds none of them has finished a task. That is OutOfMemory, whose text says what
    is free and what one process `needs`, in bytes, where a process gets no more memory or is killed for it.
    """
    pending: dict[Future[Result], int] = {}
    numbered = enumerate(tasks)
    with (
        _as_parent(),
        ProcessPoolExecutor(
            jobs,
            mp_context=get_context("spawn"),
            initializer=follow,
            initargs=(os.getpid(),),
            max_tasks_per_child=per_process,
        ) as pool,
    ):
        processes = pool._processes  # noqa: SLF001 - with the exit status of one that died
        try:
            while True:
                while len(pending) <= jobs and (task := next(numbered, None)) is not None:
                    with _deaf():
                        future = pool.submit(function, *task[1])
                    pending[future] = task[0]
                if not pending:
                    return
                for future in _done(pending, patience):
                    yield pending.pop(future), future.result()
        except BrokenProcessPool as error:
            pool.shutdown()  # and all have an exit status
            raise _died([process.exitcode for process in processes.values()], jobs, needs) from error
        except MemoryError as error:
            _end(pool)
            raise _starved("got no more memory", jobs, needs) from error
        except BaseException:
            _end(pool)
            raise


def _done(pending: dict[Future[Result], int], patience: float | None) -> list[Future[Result]]:
    """Those that finish next, by number. Raises ProvingFailed when none does."""
    done, _ = wait(pending, patience, FIRST_COMPLETED)
    if not done:
        raise ProvingFailed(
            f"no worker process finished a task within {patience} s; they were ended, run this again"
        )
    return sorted(done, key=pending.__getitem__)


def _died(statuses: list[int | None], jobs: int, needs: int | None) -> ProvingFailed:
    """What became of the first process that died: the others were told to end (SIGTERM)."""
    status = next((one for one in statuses if one not in {None, 0, -signal.SIGTERM}), 0)
    if memory.is_starved(status or 0):
        return _starved(memory.how_ended(status or 0), jobs, needs)
    return ProvingFailed(
        f"a worker process {memory.how_ended(status or 0)}; what is finished is kept, run the same command again"
    )


def _starved(how: str, jobs: int, needs: int | None) -> OutOfMemory:
    less = [f"with fewer jobs than {jobs}"] * (jobs > 1) + ["with `--profile edge`"] * (needs is not None)
    return OutOfMemory(
        f"a worker process {how} ({memory.balance(needs)} now); what is finished is kept, so run the same command "
        f"again when more is free{', or ' * bool(less)}{' or '.join(less)}"
    )


def _end(pool: ProcessPoolExecutor) -> None:
    """End the processes now. Leaving the pool would wait for their tasks, which may take minutes."""
    for worker in list((pool._processes or {}).values()):  # noqa: SLF001 - public only from Python 3.14 on
        worker.kill()  # one that is stopped would not hear of SIGTERM
    pool.shutdown(wait=False, cancel_futures=True)
