"""A real worker of the ledger's queues, in a thread of the test's own process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from celery.contrib.testing.worker import start_worker

from ledger import queue


@contextmanager
def worker() -> Iterator[None]:
    """It finds the queues empty: what earlier tests left there is no business of this one."""
    with queue.app.connection_for_write() as connection:
        for each in queue.app.conf.task_queues:
            connection.default_channel.queue_purge(each.name)
    with start_worker(queue.app, pool="solo", perform_ping_check=False, loglevel="info", shutdown_timeout=30):
        yield
