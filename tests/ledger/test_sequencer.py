"""Group commit: threads and processes at once, the same statement twice, kill -9 at every step."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from django.db import connection, transaction

from ledger import log, sequencer
from ledger.models import Checkpoint, LogEntry, LogNode
from ledger.sequencer import SequencingError, append_many
from ledger.statements.dsse import Envelope
from ledger.statements.errors import StatementError
from ledger.statements.predicates.base import LogRef
from ledger.tlog import merkle
from tests.ledger.test_log import SIGNER, envelope

pytestmark = pytest.mark.django_db(transaction=True)


def put(*envelopes: Envelope) -> list[LogRef]:
    return append_many((one, SIGNER) for one in envelopes)


def check_log(promised: list[LogRef]) -> None:
    """Indices have no gap, nodes are those of the leaves and no others, and every promise is kept."""
    with transaction.atomic():
        log.lock()  # whoever was killed while it held the lock has left now
    entries = list(LogEntry.objects.order_by("index"))
    assert [entry.index for entry in entries] == list(range(len(entries)))
    assert len({entry.statement_sha256 for entry in entries}) == len(entries)
    tree = merkle.MemoryTree()
    stored = {(node.level, node.index): bytes(node.hash) for node in LogNode.objects.all()}
    for entry in entries:
        tree.append(bytes(entry.envelope))
        assert bytes(entry.leaf_hash) == merkle.leaf_hash(bytes(entry.envelope))
    wanted = [(level, at) for level in range(64) for at in range(len(entries) >> level)]
    assert stored == dict(zip(wanted, tree.read(wanted), strict=True))
    for ref in promised:
        assert log.entry_ref(entries[ref.index]) == ref
    for head in Checkpoint.objects.all():
        assert bytes(head.root) == tree.root(head.size)


def test_places_are_given_in_order() -> None:
    one, two, three = envelope(), envelope(), envelope()
    assert [ref.index for ref in put(one, two)] == [0, 1]
    assert [ref.index for ref in put(three, two, three)] == [2, 1, 2]
    assert [ref.index for ref in put(one)] == [0]
    assert put() == []
    check_log(put(one, two, three))


def test_it_is_the_same_log_as_the_workflows() -> None:
    one, two, three = envelope(), envelope(), envelope()
    with transaction.atomic():
        first = log.append(one, SIGNER)
    (second, again) = put(two, one)
    with transaction.atomic():
        assert log.append(two, SIGNER).index == second.index == 1
        assert log.append(three, SIGNER).index == 2
    assert again == log.entry_ref(first)
    check_log([second, again])


def test_not_inside_a_transaction() -> None:
    with transaction.atomic(), pytest.raises(RuntimeError, match="inside a transaction"):
        put(envelope())
    assert LogEntry.objects.count() == 0


def test_what_is_no_statement_stops_nobody_else() -> None:
    with pytest.raises(StatementError):
        put(envelope(), Envelope(b"{}", "application/vnd.in-toto+json", envelope().signatures))
    assert LogEntry.objects.count() == 0
    check_log(put(envelope()))


def test_a_batch_larger_than_the_limit_of_one_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequencer, "MAX_BATCH", 3)
    check_log(in_threads(4, lambda _: put(*(envelope() for _ in range(5))) + put(envelope())))


def in_threads(count: int, work: Callable[[int], list[LogRef]]) -> list[LogRef]:
    promised: list[LogRef] = []
    errors: list[Exception] = []

    def run(number: int) -> None:
        try:
            promised.extend(work(number))
        except Exception as error:  # noqa: BLE001 - reported below, by the test's own thread
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    return promised


def wait_until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 90
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def end_whoever_waits_for_the_lock() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
        return bool(cursor.fetchall())


def commits() -> int:
    """Transactions that wrote rows, by their number in the rows."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(DISTINCT xmin::text) FROM ledger_logentry")
        return int(cursor.fetchone()[0])


def test_threads_share_commits() -> None:
    twice = envelope()

    def work(_: int) -> list[LogRef]:
        return [ref for _ in range(6) for ref in put(envelope())] + put(twice)

    with transaction.atomic():
        log.lock()  # until here everybody gathers
        threads = threading.Thread(target=lambda: promised.extend(in_threads(8, work)))
        promised: list[LogRef] = []
        threads.start()
        wait_until(lambda: len(sequencer._queue._waiting) >= 7)
    threads.join()
    assert LogEntry.objects.count() == 8 * 6 + 1
    assert commits() < 8 * 6
    check_log(promised)


def test_threads_workflow_and_checkpoints_at_once() -> None:
    def work(number: int) -> list[LogRef]:
        if number % 2:
            return [ref for _ in range(4) for ref in put(envelope(), envelope())]
        log.publish_checkpoint()
        with transaction.atomic():
            return [log.entry_ref(log.append(envelope(), SIGNER)) for _ in range(3)]

    promised = in_threads(6, work)
    log.publish_checkpoint()
    assert len(promised) == 3 * 8 + 3 * 3 == LogEntry.objects.count()
    check_log(promised)


def in_child(work: Callable[[], None]) -> int:
    """Run `work` in a forked process with a connection of its own; its wait status."""
    connection.close()
    child = os.fork()
    if not child:
        try:
            work()
            os._exit(0)
        except BaseException:  # noqa: BLE001 - whatever it is must not run pytest a second time
            os._exit(1)
    return child


def test_processes_make_one_tree() -> None:
    twice = envelope()

    def work() -> None:
        for _ in range(5):
            in_threads(3, lambda _: put(envelope(), envelope()))
        put(twice)

    children = [in_child(work) for _ in range(4)]
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
    assert LogEntry.objects.count() == 4 * 5 * 3 * 2 + 1
    check_log([])


def kill_at(step: int, *, after: bool) -> None:
    """From now on this process is killed at its round trip number `step` to the database, before or after it."""
    wait, trips = psycopg.Connection.wait, iter(range(10_000))

    def counted(self: psycopg.Connection, *args: object, **kwargs: object) -> object:
        last = next(trips) == step
        if last and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        answer = wait(self, *args, **kwargs)
        if last:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    psycopg.Connection.wait = counted  # type: ignore[method-assign, assignment]


@pytest.mark.parametrize("after", [False, True])
def test_kill_9_before_and_after_every_write(after: bool) -> None:
    promised = put(envelope(), envelope(), envelope())
    statuses, landed = [], 0
    for step in range(100):
        batch = [envelope() for _ in range(2)]

        def work(step: int = step, batch: list[Envelope] = batch) -> None:
            connection.ensure_connection()
            kill_at(step, after=after)
            put(*batch)

        _, status = os.waitpid(in_child(work), 0)
        statuses.append(status)
        check_log(promised)
        before = LogEntry.objects.count()
        assert before in {len(promised), len(promised) + 2}, "a batch lands as a whole or not at all"
        landed += before > len(promised)
        promised += put(*batch)  # whoever got no answer asks again
        check_log(promised)
        if status == 0:
            break
    assert statuses == [signal.SIGKILL] * (len(statuses) - 1) + [0]
    assert len(statuses) > 8, "begin, lock, look up, edge, two copies, commit"
    assert landed > after, "what was killed after its commit is there, and the last, which was not killed"
    assert LogEntry.objects.count() == 3 + 2 * len(statuses)


def test_a_lost_connection_is_told_to_all_who_waited() -> None:
    failed: list[SequencingError] = []

    def work(_: int) -> list[LogRef]:
        try:
            return put(envelope())
        except SequencingError as error:
            failed.append(error)
            return []

    with transaction.atomic():
        log.lock()
        threads = threading.Thread(target=in_threads, args=(4, work))
        threads.start()
        wait_until(lambda: len(sequencer._queue._waiting) >= 3)
        wait_until(end_whoever_waits_for_the_lock)
    threads.join()
    assert failed
    assert "append the same again" in str(failed[0])
    check_log(put(envelope()))


def test_who_is_interrupted_while_waiting_leaves_the_lead_to_the_next() -> None:
    queue = sequencer._Queue()
    one, two, three = (sequencer._Ticket([]) for _ in range(3))
    queue._led = True
    queue._waiting.extend([one, two, three])
    queue._leave(three)
    assert not two.called.is_set()
    one.called.set()  # its turn has come, and now Ctrl-C
    queue._leave(one)
    assert two.called.is_set()
    queue._leave(two)
    assert not queue._led
    queue._leave(two)  # no longer there: nothing to do


SERVER_CRASH = """
import os, sys, threading, time
import psutil
os.environ["DJANGO_SETTINGS_MODULE"] = "ledger.settings"
import django
django.setup()
from django.conf import settings
from django.core.management import call_command
from django.db import connection
from ledger import embedded, log
from ledger.models import LogEntry
from ledger.sequencer import SequencingError, append_many
from tests.ledger.test_log import SIGNER, envelope
from tests.ledger.test_sequencer import check_log

call_command("migrate", verbosity=0)
promised, unanswered, crashed = [], [], threading.Event()

def write():
    while not crashed.is_set():
        one = envelope()
        try:
            promised.extend(append_many([(one, SIGNER)]))
        except Exception:
            unanswered.append(one)
            break
    connection.close()

threads = [threading.Thread(target=write) for _ in range(4)]
for thread in threads:
    thread.start()
while len(promised) < 100:
    time.sleep(0.005)
server = embedded.postmaster(settings.LEDGER_DATA_DIR / "postgres")
family = [server, *server.children(recursive=True)]
for process in family:
    process.kill()
time.sleep(0.5)  # whoever was waiting for an answer learns that there is none
crashed.set()
for thread in threads:
    thread.join()
connection.close()
psutil.wait_procs(family, timeout=20)
check_log(promised)
stored = LogEntry.objects.count()
assert len(promised) <= stored <= len(promised) + len(unanswered), (len(promised), stored)
promised += append_many((one, SIGNER) for one in unanswered)
check_log(promised)
assert unanswered and LogEntry.objects.count() == len(promised)
print("kept", len(promised))
"""


@pytest.mark.slow
def test_kill_9_of_the_database_server_loses_nothing_that_was_answered() -> None:
    folder = tempfile.mkdtemp(prefix="ledger-crash-")
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "LEDGER_DATA_DIR": folder, "PYTHONPATH": str(root)}
    try:
        done = subprocess.run(
            [sys.executable, "-c", SERVER_CRASH],
            check=False,
            env=environment,
            cwd=root,
            capture_output=True,
            text=True,
            timeout=400,
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.startswith("kept ")
