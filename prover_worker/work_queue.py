"""Messages to a client's own workers, by Celery: `RUN, ITEM`, and nothing else ever.

The broker is the client's: by default files in the folder that its machines share, or Redis or RabbitMQ of its own
by an URL. This module and the provider's tasks are the only ones of the package that import Celery.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable
from typing import Any, Final

from celery import Celery
from celery.exceptions import CeleryError
from kombu.exceptions import OperationalError

from ledger import broker
from prover_worker.work_folder import Site

logger = logging.getLogger(__name__)

QUEUE: Final = "proving"
TASK: Final = "prover_worker.work.prove"
_LIMIT_SECONDS: Final = 24 * 3600  # of a task; a run's own limit, which a worker keeps to, is far below


class Messages:
    """Both ends of the queue of one shared folder."""

    def __init__(self, site: Site, url: str = "") -> None:
        self._app = Celery("client-workers", set_as_current=False)
        self._app.conf.update(broker.configuration(url, site.queue, 0, {TASK: QUEUE}, {QUEUE: _LIMIT_SECONDS}))

    def wake(self, run: str, item: str) -> None:
        """Tell a worker of an item. A broker that is away is none of its sender's business: it is told again."""
        try:
            self._app.send_task(TASK, args=[run, item])
        except (OperationalError, CeleryError, OSError) as error:
            logger.warning("no worker was told of %s: %s", item, error)

    def serve(self, prove: Callable[[str, str], None], processes: int) -> None:
        """Call prove(run, item) for each message, `processes` at once, in threads, until SIGTERM or Ctrl-C.

        The first signal lets what is under way be finished, a second one does not.
        """
        self._app.task(prove, name=TASK)
        options: dict[str, Any] = {"pool": "threads", "concurrency": processes, "loglevel": "WARNING"}
        worker = self._app.Worker(
            **options, queues=[QUEUE], without_gossip=True, without_mingle=True, without_heartbeat=True,
            hostname=f"proving@{socket.gethostname()}-{os.getpid()}",
        )  # fmt: skip
        worker.start()
