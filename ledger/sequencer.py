"""Group commit: independent statements of many writers reach the log in few transactions.

A writer who has no other row to change calls `append_many`. (Workflow functions change rows of their own; they
append inside their own transaction with `ledger.log.append`, so that row and leaf land together.)

1. The writer's thread makes its leaves and puts them into this process's queue.
2. One thread at a time has the process's turn. It takes what has queued up, waits for the log's lock, which it
   shares with all other processes and with the workflow, writes everything and commits once.
3. Threads that waited meanwhile find their leaves written. Only now, after the commit, does anybody answer.

While one commit waits for the disk the next batch gathers, so batches grow with the load and no timer is
needed. The log itself is the only truth: the queue lives in memory and holds nothing that anybody was promised.
A crash at any point loses what was not answered, or leaves it in the log unanswered; appending the same statements
again is right in both cases.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from django.db import transaction

from ledger import log
from ledger.statements.dsse import Envelope
from ledger.statements.predicates.base import LogRef

MAX_BATCH = 4_096  # leaves in one transaction, unless one writer brings more


class SequencingError(RuntimeError):
    """The database refused a batch or went away. The same statements may be appended again without harm."""


@dataclass(eq=False)
class _Ticket:
    """One call's leaves, and what became of them."""

    leaves: list[log.Leaf]
    placed: dict[str, LogRef] = field(default_factory=dict)
    error: BaseException | None = None
    done: bool = False


class _Queue:
    """What waits in this process."""

    def __init__(self) -> None:
        self.forget()
        os.register_at_fork(after_in_child=self.forget)

    def forget(self) -> None:
        """Start empty. A forked child has none of the threads that wait here, and may have inherited their locks."""
        self._waiting: deque[_Ticket] = deque()
        self._guard = threading.Lock()
        self._turn = threading.Lock()

    def ride(self, ticket: _Ticket) -> None:
        """Return when `ticket` is done, written by this thread or by another."""
        with self._guard:
            self._waiting.append(ticket)
        with self._turn:
            while not ticket.done:
                _commit(self._take())

    def _take(self) -> list[_Ticket]:
        with self._guard:
            batch = [self._waiting.popleft()]
            leaves = len(batch[0].leaves)
            while self._waiting and leaves + len(self._waiting[0].leaves) <= MAX_BATCH:
                batch.append(self._waiting.popleft())
                leaves += len(batch[-1].leaves)
        return batch


_queue = _Queue()


def append_many(statements: Iterable[tuple[Envelope, str]]) -> list[LogRef]:
    """Append verified envelopes, each with the key ID of its signer; return their places, in the order given.

    When this returns, all of them are on disk. They get consecutive indices in this order, except those that were
    in the log before, or come twice: a statement keeps its first place. All of one call are written in one
    transaction, or none.

    Raises RuntimeError inside a transaction (its end, not ours, would decide), StatementError or EnvelopeError for
    what cannot be a leaf, SequencingError if the database failed: then nobody knows, and asking again is right.
    """
    if transaction.get_connection().in_atomic_block:
        raise RuntimeError("append_many commits by itself: inside a transaction call ledger.log.append instead")
    ticket = _Ticket([log.Leaf.of(envelope, signer) for envelope, signer in statements])
    if not ticket.leaves:
        return []
    _queue.ride(ticket)
    if ticket.error is not None:
        raise SequencingError(
            f"a batch of statements was not confirmed by the database ({ticket.error}): append the same again"
        ) from ticket.error
    return [ticket.placed[leaf.statement_sha256] for leaf in ticket.leaves]


def _commit(batch: list[_Ticket]) -> None:
    """Write a batch in one durable transaction and settle its tickets, whatever happens."""
    try:
        with transaction.atomic(durable=True):
            log.lock()
            placed = log.write(leaf for ticket in batch for leaf in ticket.leaves)
        for ticket in batch:
            ticket.placed = placed
    except BaseException as error:
        for ticket in batch:
            ticket.error = error
        if not isinstance(error, Exception):  # Ctrl-C is for this thread; the others learn that they must ask again
            raise
    finally:
        for ticket in batch:
            ticket.done = True
