"""Recording what happened, in the transaction in which it happens."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from django.db import transaction

from ledger import log, logs
from ledger.models import Event, LogEntry
from ledger.models.events import KINDS
from ledger.workflow.actors import SYSTEM, Actor

Id = uuid.UUID | str


def record(
    kind: str,
    *,
    actor: Actor = SYSTEM,
    request: Id | None = None,
    window: Id | None = None,
    order: Id | None = None,
    client: Id | None = None,
    model: Id | None = None,
    entry: LogEntry | None = None,
    data: Mapping[str, Any] | None = None,
) -> Event:
    """Add an event about the given rows; `data` is JSON without anything personal.

    Takes the log's lock until the transaction ends, so that events become visible in the order of their
    numbers: whoever asks for "after number N" misses none.
    """
    assert kind in KINDS, f"{kind!r} is not in ledger.models.events.KINDS"
    log.lock()
    row = Event.objects.create(
        kind=kind,
        actor_kind=actor.kind,
        actor_id=actor.id,
        actor_name=actor.name,
        request=request,
        window=window,
        order=order,
        client=client,
        model=model,
        entry=entry,
        data=dict(data or {}),
    )
    about = {"request": request, "window": window, "order": order, "client": client, "model": model}
    said: dict[str, Any] = {f"about_{name}": str(value) for name, value in about.items() if value}
    _tell(kind, actor, {**said, "number": row.pk})
    return row


def record_many(kind: str, actor: Actor, requests: Mapping[uuid.UUID, int]) -> None:
    """One event of a kind for each request, with the index of its log entry. The caller holds the log's lock."""
    assert kind in KINDS, f"{kind!r} is not in ledger.models.events.KINDS"
    who = {"actor_kind": actor.kind, "actor_id": actor.id, "actor_name": actor.name}
    Event.objects.bulk_create(
        Event(kind=kind, request=request, entry_id=index, **who) for request, index in requests.items()
    )
    one = {"about_request": str(next(iter(requests)))} if len(requests) == 1 else {}
    _tell(kind, actor, {**one, "count": len(requests)})


def _tell(kind: str, actor: Actor, what: Mapping[str, Any]) -> None:
    """A line for whoever collects logs, once it is true. Names of officers stay in the database."""
    said = {"event": kind, "who": f"{actor.kind} {actor.id}", **what}
    transaction.on_commit(lambda: logs.AUDIT.info(kind, extra=said), robust=True)
