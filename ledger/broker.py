"""Celery's configuration: queues by kind of work, limits of time and memory, and what each broker must be told.

| queue | work | cost of one task |
|---|---|---|
| ledger | sweeps, challenges | short; the log's lock |
| webhooks | messages to others | waits for strangers |
| masking | masks of closed windows | minutes to hours; memory of a model and its gradients |
| verification | proofs of clients | seconds to minutes; memory of ezkl |
| reports | exports, imports, the daily check of the log | minutes |

A worker takes all queues unless `-Q` names some. Compensation and proving are no queues here: clients do them, on
machines of their own, and where these are several, over a broker of their own. A message only wakes a worker (see
`ledger.queue`), so brokers need neither persistence nor mirrors, and each may lose or repeat what it likes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from kombu import Queue

from ledger import spool

LEDGER: Final = "ledger"
WEBHOOKS: Final = "webhooks"
MASKING: Final = "masking"
VERIFICATION: Final = "verification"
REPORTS: Final = "reports"

#: Seconds after which a task is told to stop; a minute later its process is killed, and the sweep starts it anew.
LIMITS: Final = {LEDGER: 600, WEBHOOKS: 300, MASKING: 12 * 3600, VERIFICATION: 6 * 3600, REPORTS: 6 * 3600}
_GRACE: Final = 60
#: Longer than any task: a message that is not yet acknowledged is nobody else's business until then.
PATIENCE: Final = max(LIMITS.values()) + 3600


def configuration(
    url: str, folder: Path, memory_mb: int, routes: Mapping[str, str], limits: Mapping[str, int] = LIMITS
) -> dict[str, Any]:
    """Settings for Celery, without its beat. `routes`: queues of tasks; `folder`: of the spool, if no `url`.

    `limits`: the queues and their seconds, the first one for what has no route. The provider's, unless it is a
    client that configures its own workers (`prover_worker.work_queue`).
    """
    scheme = urlsplit(url).scheme
    return {
        "broker_url": url or "spool://localhost",
        "broker_transport_options": _transport_options(scheme, folder),
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,  # a worker waits for its broker for ever
        "broker_connection_timeout": 5,
        # Whoever enqueues waits no longer than this for a broker that is away: the sweep sends the message again.
        "task_publish_retry_policy": {"max_retries": 1, "interval_start": 0.1, "interval_max": 0.5},
        "task_serializer": "json",
        "accept_content": ["json"],
        "task_ignore_result": True,
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "task_queues": [Queue(name, queue_arguments=_arguments(scheme)) for name in limits],
        "task_default_queue": next(iter(limits)),
        "task_create_missing_queues": False,  # `-Q verfication` is a mistake, not a queue
        "task_routes": {task: {"queue": queue} for task, queue in routes.items()},
        "task_annotations": {
            task: {"soft_time_limit": limits[queue], "time_limit": limits[queue] + _GRACE}
            for task, queue in routes.items()
        },
        "worker_prefetch_multiplier": 1,  # what waits, waits where other workers can take it
        "worker_max_memory_per_child": memory_mb * 1024,  # Celery counts in KiB
        "worker_enable_remote_control": False,  # its broadcast queues would pile up as files
        "worker_hijack_root_logger": False,
        "timezone": "UTC",
    }


def _transport_options(scheme: str, folder: Path) -> dict[str, Any]:
    if not scheme:
        return spool.transport_options(folder)
    if scheme.startswith("redis"):
        keepalive = {"socket_keepalive": True, "socket_connect_timeout": 5, "socket_timeout": 30}
        return {"visibility_timeout": PATIENCE, "health_check_interval": 25, **keepalive}
    return {}


def _arguments(scheme: str) -> dict[str, Any] | None:
    """RabbitMQ gives a consumer up that has not acknowledged for half an hour; from 3.12 on it can be told."""
    return {"x-consumer-timeout": PATIENCE * 1000} if scheme.startswith("amqp") else None
