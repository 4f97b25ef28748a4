"""Many writers of the log: threads and processes at once, the same statement twice, kill -9 at every step."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from django.db import connection, transaction

from ledger import log
from ledger.models import Checkpoint, LogEntry, LogNode
from ledger.statements.dsse import Envelope
from ledger.statements.errors import StatementError
from ledger.statements.predicates.base import LogRef
from ledger.tlog import merkle
from tests.ledger.test_log import SIGNER, envelope

pytestmark = pytest.mark.django_db(transaction=True)


def put(*envelopes: Envelope) -> list[LogRef]:
    with transaction.atomic():
        return [log.entry_ref(entry) for entry in log.append_all(envelopes, SIGNER)]


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


def test_what_is_no_statement_stops_nobody_else() -> None:
    with pytest.raises(StatementError):
        put(envelope(), Envelope(b"{}", "application/vnd.in-toto+json", envelope().signatures))
    assert LogEntry.objects.count() == 0
    check_log(put(envelope()))


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
from tests.ledger.test_log import envelope
from tests.ledger.test_log_writers import check_log, put

call_command("migrate", verbosity=0)
promised, unanswered, crashed = [], [], threading.Event()

def write():
    while not crashed.is_set():
        one = envelope()
        try:
            promised.extend(put(one))
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
promised += put(*unanswered)
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
