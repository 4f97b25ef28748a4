"""Batches from several processes, in the log's order. Each has a connection of its own on one common snapshot."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

import psycopg

from ledger.fsck.leaves import BATCH, Batch, Candidates, Rows, read_batch


@dataclass(frozen=True)
class Source:
    """Where a worker process reads: libpq parameters and the ID of an exported snapshot."""

    parameters: Mapping[str, Any]
    snapshot: str


class _Worker:
    """What one worker process keeps between batches."""

    rows: Rows
    candidates: Candidates


def batches(source: Source, size: int, candidates: Candidates, jobs: int) -> Iterator[Batch]:
    """All batches of a log of `size` entries, read by `jobs` processes, at most two ahead for each."""
    with ProcessPoolExecutor(
        jobs, mp_context=get_context("spawn"), initializer=_start, initargs=(source, candidates)
    ) as pool:
        waiting: deque[Future[Batch]] = deque()
        try:
            for low in range(0, size, BATCH):
                waiting.append(pool.submit(_read, low, min(low + BATCH, size)))
                if len(waiting) > 2 * jobs:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _start(source: Source, candidates: Candidates) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which ends us
    connection = psycopg.connect(**source.parameters)
    connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
    connection.execute(psycopg.sql.SQL("SET TRANSACTION SNAPSHOT {}").format(psycopg.sql.Literal(source.snapshot)))

    def rows(query: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        return connection.execute(query.encode(), parameters, binary=True).fetchall()

    _Worker.rows, _Worker.candidates = staticmethod(rows), candidates


def _read(low: int, high: int) -> Batch:
    return read_batch(_Worker.rows, low, high, _Worker.candidates)
