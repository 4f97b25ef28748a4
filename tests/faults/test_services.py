"""The services go away in the middle of the work: database, broker, bucket; messages come twice, late, shuffled.

The promise: what had been answered is there, what had not is done again, and nobody has to do anything.
"""

import os
import random
import subprocess
import sys
import threading
import time

import pytest

from tests.faults.tally import TALLY
from tests.faults.test_kills import killing
from tests.stories.nursery import ROOT, await_that

pytestmark = pytest.mark.faults

#: Eight threads enrol clients, again what was not confirmed, until there are enough or stdin ends; then all places.
WRITER = """
import sys, threading, time, uuid, django
django.setup()
from django.db import Error, connection
from ledger.statements import keys
from ledger.statements.predicates import ClientEnrolment
from ledger.statements.statement import sign_statement
from ledger.workflow import clients

confirmed, failed, over = [], [], threading.Event()

def persist(function, *given):
    while True:
        try:
            return function(*given)
        except Error as error:
            failed.append(error)
            connection.close()
            time.sleep(0.3)

def write():
    for _ in range(int(sys.argv[1])):
        if over.is_set():
            break
        key = keys.generate()
        client, token = persist(lambda: clients.invite_client(f"writer {uuid.uuid4()}"))
        said = ClientEnrolment(client=str(client.uuid), public_key=keys.public_hex(key))
        envelope = sign_statement(said, key).to_bytes()
        entry = persist(clients.enrol_client, envelope, token).entry
        confirmed.append((entry.index, bytes(entry.leaf_hash).hex()))
    connection.close()

threads = [threading.Thread(target=write) for _ in range(8)]
for thread in threads: thread.start()
sys.stdin.read()
over.set()
for thread in threads: thread.join()
print(len(failed))
for index, leaf in confirmed: print(index, leaf)
"""

SEND = """
import sys, random, django
django.setup()
from ledger import queue
from ledger.models import Job
jobs = list(Job.objects.all()) * 3
random.Random(int(sys.argv[1])).shuffle(jobs)
for job in jobs: queue.app.send_task(queue.TASKS[Job.Kind(job.kind)], args=[str(job.uuid)])
for task in (queue.TASK_SWEEP, queue.TASK_WEBHOOKS) * 3: queue.app.send_task(task)
"""


def script(house, text, *arguments):
    environment = house._environment() | {"DJANGO_SETTINGS_MODULE": "ledger.settings"}
    return subprocess.Popen(
        [sys.executable, "-c", text, *arguments],
        cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def await_more(house, writer, more=20):
    """Wait until so many entries more stand in the log, of a writer that is still at it."""
    wanted = entries(house) + more
    await_that(lambda: entries(house) >= wanted, 120.0, lambda: f"{entries(house)} entries, expected {wanted}")
    assert writer.poll() is None, "the writer ended too early"


def entries(house):
    """How many stand in the log; 0 while the database is away."""
    found = house.rows("SELECT count(*) FROM ledger_logentry")
    return found[0][0] if found else 0


def check_written(house, writer):
    """End a writer. What it was told stands in the log, once. Returns how often it was not answered at first."""
    said, _ = writer.communicate(timeout=300)
    assert writer.returncode == 0
    first, *lines = said.splitlines()
    told = {int(index): leaf for index, leaf in (line.split() for line in lines)}
    assert len(told) == len(lines)
    held = {index: bytes(leaf).hex() for index, leaf in house.rows("SELECT index, leaf_hash FROM ledger_logentry")}
    assert {index: held.get(index) for index in told} == told
    house.acknowledged |= told
    return int(first)


def test_the_database_is_killed(house, walk):
    walk(
        house,
        "kill -9 database",
        killing(house, "database", "committed", "closed", "masking", "claimed", "verifying"),
    )


def test_the_database_restarts_while_eight_threads_write(house):
    with TALLY.faults("kill -9 database, eight writers", "database restarts, eight writers"):
        writer = script(house, WRITER, "10000")
        await_more(house, writer)
        house.kill("database")
        await_more(house, writer)
        house.database.stop()
        house.database.start()
        await_more(house, writer)
        assert check_written(house, writer) > 0, "the database was not away while anything was written"
        house.fsck()


def test_two_writers_and_two_of_every_process(house, walk):
    """Two beats, two publishers, two provers, and two programs that append, while the story goes on."""
    writers = []

    def double(_walk):
        house.add("ledger2", "ledger", ("ledger@h", "ledger2@h"))
        house.add("prover2", "prover", ("prover@h", "prover2@h"))
        writers.extend(script(house, WRITER, "20") for _ in range(2))

    try:
        walk(house, "two writers", {"committing": double})
        for writer in writers:
            check_written(house, writer)
        house.fsck()
    finally:
        for name in ("ledger2", "prover2"):
            house.remove(name)


def test_redis_dies_with_all_messages(house, walk):
    walk(house, "kill -9 redis", killing(house, "broker", "committed", "closed", "claimed", "proved", "settled"))


def test_rabbitmq_dies_and_files_lie_in_a_bucket(other_house, walk):
    walk(other_house, "kill -9 rabbitmq", killing(other_house, "broker", "closed", "claimed", "proved"))


def test_the_bucket_is_away(other_house, walk):
    def away(_walk):
        other_house.files.kill()
        threading.Timer(8, other_house.files.start).start()

    walk(other_house, "object store away", dict.fromkeys(("committing", "closed", "uploading"), away))


def test_a_broker_that_is_away_keeps_nobody_waiting(house, walk):
    """Orders are given while it is down; they are carried out when it is back, by what the rows say."""

    def away(_walk):
        house.broker.kill()
        threading.Timer(10, house.broker.start).start()

    walk(house, "redis away for 10 s", dict.fromkeys(("filed", "claiming", "proving"), away))


def test_messages_twice_and_in_any_order(house, walk):
    def flood(_walk):
        with script(house, SEND, str(random.randrange(1000))) as sender:
            assert sender.wait(120) == 0

    steps = ("closed", "masking", "claimed", "challenging", "proved", "verifying", "settled")
    walk(house, "messages three times, shuffled", dict.fromkeys(steps, flood))
    verdicts = house.rows("SELECT count(*), count(DISTINCT proof_id) FROM ledger_verdictrecord")
    assert verdicts[0][0] == verdicts[0][1]


def test_a_frozen_worker_that_wakes_up_later(house, walk):
    """Its lease ran out and another has done its job: what it then does changes nothing."""
    frozen = []

    def freeze(_walk):
        pids = [house._processes["prover"].pid, *house.children("prover")]
        for pid in pids:
            os.kill(pid, 19)
        frozen.extend(pids)
        house.add("prover2", "prover", ("prover@h", "prover2@h"))

    def thaw(_walk):
        for pid in frozen:
            os.kill(pid, 18)
        time.sleep(3)

    try:
        walk(house, "frozen worker", {"masking": freeze, "settled": thaw})
    finally:
        house.remove("prover2")
