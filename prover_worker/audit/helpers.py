"""Processes that take from the verifier what many files and signatures cost, on all cores.

They get pieces of work and answer with little: which signatures are wrong, whether files are right. What they do
not find right the verifier looks at itself, in order; so what is refused, and what is named first, is the same with
any number of processes.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Final, ParamSpec, TypeVar

from ledger.bundle.container import Container
from prover_worker.errors import AuditUnavailable

#: Below this many bytes of entries, some thousands, starting processes takes longer than checking.
_WORTH_PROCESSES: Final = 4_000_000

Given = ParamSpec("Given")
Answer = TypeVar("Answer")

_shared: list[Container] = []  # in a forked process: the bundle that is being verified


class Helpers:
    """Up to so many processes, or none: then work is done at once, here."""

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs
        self.share = False  # whether they can read the bundle themselves
        self._pool: ProcessPoolExecutor | None = None

    def start(self, container: Container, size: int) -> None:
        """Start processes if so many bytes of entries are worth it."""
        if self.jobs < 2 or size < _WORTH_PROCESSES:
            return
        # A fork costs milliseconds, and shares the open bundle, but is safe only where there is nothing but this
        # thread.
        forking = sys.platform == "linux" and threading.active_count() == 1
        self.share = forking and container.may_be_shared
        context = get_context("fork" if forking else "spawn")
        given = (os.getpid(), container if self.share else None)
        self._pool = ProcessPoolExecutor(self.jobs, context, _begin, given)

    def stop(self) -> None:
        """End the processes."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def ask(self, work: Callable[Given, Answer], *args: Given.args, **kwargs: Given.kwargs) -> Callable[[], Answer]:
        """Have it done; what comes back waits for the answer and raises AuditUnavailable if a process has died."""
        if self._pool is None:
            answer = work(*args, **kwargs)
            return lambda: answer
        future = self._pool.submit(work, *args, **kwargs)
        return lambda: _answer(future)


def shared_container() -> Container:
    """In a helping process: the bundle."""
    assert _shared, "only asked where `Helpers.share`"
    return _shared[-1]


@contextmanager
def helpers(jobs: int) -> Iterator[Helpers]:
    """Helpers that end with the block."""
    made = Helpers(jobs)
    try:
        yield made
    finally:
        made.stop()


def _answer(future: Future[Answer]) -> Answer:
    try:
        return future.result()
    except BrokenProcessPool as error:
        raise AuditUnavailable("a worker process died, perhaps for want of memory: try --jobs 1") from error


def _begin(parent: int, container: Container | None) -> None:
    """Leave Ctrl-C to the parent, and do not outlive it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if os.getppid() != parent:
        os._exit(1)
    if container is not None:
        _shared.append(container)
