"""Group commit: independent statements of many writers reach the log in few transactions.

A writer who has no other row to change calls `append_many`. (Workflow functions change rows of their own; they
append inside their own transaction with `ledger.log.append`, so that row and leaf land together.)

1. The writer's thread makes its leaves and puts them into this process's queue.
2. If nobody leads there, it leads: it waits for the log's lock, which it shares with all other processes and with
   the workflow, takes what has queued up until then, writes everything and commits once.
3. After the commit everybody whose leaves were in it gets an answer, and whoever is first in the queue leads.

While one commit waits for the disk the next batch gathers, so batches grow with the load and no timer is
needed. The log itself is the only truth: the queue lives in memory and holds nothing that anybody was promised.
A crash at any point loses what was not answered, or leaves it in the log unanswered; appending the same statements
again is right in both cases.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable
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
    called: threading.Event = field(default_factory=threading.Event)  # done, or next to lead

    def settle(self, error: BaseException | None) -> None:
        """Let its thread go on."""
        self.error = error
        self.done = True
        self.called.set()


class _Queue:
    """What waits in this process."""

    def __init__(self) -> None:
        self.forget()
        os.register_at_fork(after_in_child=self.forget)

    def forget(self) -> None:
        """Start empty: a forked child has none of the threads that wait here, only the locks that they held."""
        self._guard = threading.Lock()
        self._waiting: deque[_Ticket] = deque()
        self._led = False

    def ride(self, ticket: _Ticket) -> None:
        """Return when `ticket` is done, written by this thread or by another."""
        with self._guard:
            self._waiting.append(ticket)
            follows, self._led = self._led, True
        if follows:
            try:
                ticket.called.wait()
            except BaseException:
                self._leave(ticket)
                raise
        if not ticket.done:
            self._lead()

    def _leave(self, ticket: _Ticket) -> None:
        """Interrupted while waiting: somebody else must lead in its place."""
        with self._guard:
            if ticket in self._waiting:
                self._waiting.remove(ticket)
                if ticket.called.is_set():
                    self._call_next()

    def _call_next(self) -> None:
        self._led = bool(self._waiting)
        if self._led:
            self._waiting[0].called.set()

    def _lead(self) -> None:
        """Write a batch, of which this thread's ticket is the first; settle it, whatever happens."""
        batch: list[_Ticket] = []
        error: BaseException | None = None
        try:
            _commit(self._take, batch)
        except BaseException as caught:
            error = caught
            if not isinstance(caught, Exception):  # Ctrl-C is this thread's; the others learn to ask again
                raise
        finally:
            with self._guard:
                for ticket in batch or [self._waiting.popleft()]:
                    ticket.settle(error)
                self._call_next()

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


def _commit(take: Callable[[], list[_Ticket]], batch: list[_Ticket]) -> None:
    """Write what `take` returns in one durable transaction; `batch` tells the caller what that was."""
    with transaction.atomic(durable=True):
        log.lock()
        batch += take()  # not before: while this thread waited for the lock, others queued up
        placed = log.write(leaf for ticket in batch for leaf in ticket.leaves)
    for ticket in batch:
        ticket.placed = placed
