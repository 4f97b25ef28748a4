"""Jobs: taken once, leased, found again after a crash; messages whole."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from celery import Celery
from django.conf import LazySettings
from django.db import OperationalError, connection, transaction
from django.utils import timezone

from ledger import broker, queue, spool
from ledger.models import Job
from ledger.workflow.errors import WorkflowError
from prover_worker import tasks


def messages() -> list[Path]:
    return list(Path(queue.app.conf.broker_transport_options["data_folder_out"]).iterdir())


@pytest.fixture(autouse=True)
def _no_messages() -> Iterator[None]:
    for path in messages():  # of other tests that really commit
        path.unlink()
    yield
    for path in messages():
        path.unlink()


@pytest.fixture
def job(db: None) -> Job:
    return queue.enqueue(Job.Kind.MASK, uuid.uuid4())


@pytest.fixture
def worker_tasks() -> set[str]:
    """What a worker registers."""
    import prover_worker.tasks  # noqa: F401

    return {name for name in queue.app.tasks if not name.startswith("celery.")}


@pytest.mark.django_db(transaction=True)
def test_the_message_follows_the_commit() -> None:
    with transaction.atomic():
        job = queue.enqueue(Job.Kind.VERIFY, uuid.uuid4())
        assert messages() == []
    (message,) = messages()
    assert json.loads(message.read_text())["headers"]["task"] == queue.TASK_VERIFY
    assert str(job.uuid) in json.loads(message.read_text())["headers"]["argsrepr"]


@pytest.mark.django_db(transaction=True)
def test_no_message_without_commit() -> None:
    def interrupted() -> None:
        with transaction.atomic():
            queue.enqueue(Job.Kind.MASK, uuid.uuid4())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert (messages(), Job.objects.count()) == ([], 0)


def test_one_job_per_target(job: Job) -> None:
    assert queue.enqueue(Job.Kind.MASK, job.target) == job


def test_a_job_is_taken_once(job: Job) -> None:
    taken = queue.claim_job(job.uuid)
    assert taken is not None
    assert (taken.state, taken.attempts) == ("running", 1)
    assert queue.claim_job(job.uuid) is None
    queue.finish(job.uuid)
    assert queue.claim_job(job.uuid) is None
    assert queue.claim_job(uuid.uuid4()) is None


@pytest.mark.django_db(transaction=True)
def test_of_many_workers_one_wins() -> None:
    job = queue.enqueue(Job.Kind.MASK, uuid.uuid4())
    taken: list[Job | None] = []

    def work() -> None:
        taken.append(queue.claim_job(job.uuid))
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(won is not None for won in taken) == 1


def test_progress_extends_the_lease(job: Job) -> None:
    queue.claim_job(job.uuid, lease_seconds=-1)
    queue.report_progress(job.uuid, 7.5, "m" * 1000)
    job.refresh_from_db()
    assert (job.progress, job.message) == (1.0, "m" * 300)
    assert job.lease_until is not None
    assert job.lease_until > timezone.now()
    assert queue.claim_job(job.uuid) is None


@pytest.mark.django_db(transaction=True)
def test_a_worker_that_says_nothing_keeps_its_job_while_it_lives(settings: LazySettings) -> None:
    """Until the job was given to another: then what it extends is not its own any more."""
    settings.LEDGER_JOB_LEASE_SECONDS = 0.3
    threads = set(threading.enumerate())  # of tests before this one, too
    first = queue.claim_job(queue.enqueue(Job.Kind.MASK, uuid.uuid4()).uuid)
    assert first is not None
    with queue.held(first):
        time.sleep(0.8)
        assert queue.claim_job(first.uuid) is None
        Job.objects.update(lease_until=timezone.now() - timedelta(seconds=9), attempts=2)
        time.sleep(0.3)
        second = queue.claim_job(first.uuid)
    assert second is not None
    assert second.attempts == 3
    assert set(threading.enumerate()) <= threads


def test_every_task_has_a_queue_and_limits(worker_tasks: set[str]) -> None:
    known = {name.removeprefix("TASK_"): value for name, value in vars(queue).items() if name.startswith("TASK_")}
    assert set(known.values()) == set(queue.app.conf.task_routes) == worker_tasks
    names = {found.name for found in queue.app.conf.task_queues}
    for task, route in queue.app.conf.task_routes.items():
        assert route["queue"] in names
        limits = queue.app.conf.task_annotations[task]
        assert 0 < limits["soft_time_limit"] < limits["time_limit"] < broker.PATIENCE


def test_a_queue_that_does_not_exist_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue.app.amqp.queues, "_consume_from", None)  # a refused choice leaves none
    with pytest.raises(KeyError, match="verfication"):  # which ends a worker with a sentence
        queue.app.amqp.queues.select(["verfication"])


@pytest.mark.parametrize(
    ("url", "option"), [("rediss://h/0", "visibility_timeout"), ("amqps://h//", ""), ("", "data_folder_in")]
)
def test_what_each_broker_is_told(url: str, option: str, tmp_path: Path) -> None:
    made = broker.configuration(url, tmp_path, 1, {})
    assert not option or option in made["broker_transport_options"]
    assert bool(made["task_queues"][0].queue_arguments) == url.startswith("amqp")
    assert made["worker_max_memory_per_child"] == 1024


def test_a_lapsed_lease_can_be_taken_over(job: Job) -> None:
    queue.claim_job(job.uuid, lease_seconds=-1)
    second = queue.claim_job(job.uuid)
    assert second is not None
    assert second.attempts == 2


def test_the_sweep_wakes_what_was_left_lying(job: Job) -> None:
    assert queue.sweep() == 0
    Job.objects.update(queued_at=timezone.now() - timedelta(hours=1))
    assert queue.sweep() == 1
    assert queue.sweep() == 0
    queue.claim_job(job.uuid, lease_seconds=-1)
    assert queue.sweep() == 1
    job.refresh_from_db()
    assert job.state == "queued"


@pytest.mark.parametrize("days", [3, -3])
def test_a_host_with_a_wrong_clock_takes_nothing_and_leaves_nothing(
    job: Job, days: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own time counts for nothing: leases and waiting times are the database's."""
    moment = timezone.now() + timedelta(days=days)
    with monkeypatch.context() as wrong:
        wrong.setattr(timezone, "now", lambda: moment)
        assert queue.sweep() == 0
        assert queue.claim_job(job.uuid) is not None
        assert queue.sweep() == 0
        assert queue.claim_job(job.uuid) is None
        queue.fail(job.uuid, "tried by a host with a wrong clock", retry=True)
    job.refresh_from_db()
    assert abs(job.queued_at - timezone.now()) < timedelta(hours=1)


def test_the_sweep_gives_up_in_the_end(job: Job) -> None:
    for _ in range(3):
        assert queue.claim_job(job.uuid, lease_seconds=-1) is not None
        queue.sweep()
    job.refresh_from_db()
    assert job.state == "failed"
    assert "disappeared 3 times" in job.error
    assert queue.retry(job.uuid)
    assert queue.claim_job(job.uuid) is not None


def test_failures_are_tried_again_where_it_helps(job: Job) -> None:
    for state in ("queued", "queued", "failed"):
        queue.claim_job(job.uuid)
        queue.fail(job.uuid, "out of memory", retry=True)
        job.refresh_from_db()
        assert (job.state, job.error) == (state, "out of memory")
        assert queue.claim_job(job.uuid) is None, "it rests, though its message came once more"
        Job.objects.update(lease_until=None)
    assert not queue.retry(uuid.uuid4())


class Panic(BaseException):
    """What Rust code raises is no Exception."""


@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), Panic("no threads"), MemoryError()])
def test_what_nobody_expected_is_tried_again_by_a_new_process(job: Job, error: BaseException) -> None:
    def broken(_job: Job) -> None:
        raise error

    with pytest.raises(SystemExit):
        tasks._work(str(job.uuid), broken)
    job.refresh_from_db()
    assert (job.state, job.attempts) == ("queued", 1)


def test_what_is_away_ends_no_process_and_is_no_attempt(job: Job) -> None:
    def away(_job: Job) -> None:
        raise OperationalError("the connection is closed")

    tasks._work(str(job.uuid), away)
    job.refresh_from_db()
    assert (job.state, job.attempts) == ("queued", 0)


def test_what_the_input_is_to_blame_for_ends_no_process(job: Job) -> None:
    def refused(_job: Job) -> None:
        raise WorkflowError("no", "the input is wrong")

    tasks._work(str(job.uuid), refused)
    job.refresh_from_db()
    assert (job.state, job.error) == ("failed", "the input is wrong")


def test_a_finished_job_does_not_fail(job: Job) -> None:
    queue.claim_job(job.uuid)
    queue.finish(job.uuid)
    queue.fail(job.uuid, "too late", retry=True)
    job.refresh_from_db()
    assert (job.state, job.error) == ("done", "")


def test_readers_never_see_half_a_message(tmp_path: Path) -> None:
    app = Celery("t", broker="spool://", set_as_current=False)
    app.conf.broker_transport_options = spool.transport_options(tmp_path)
    with app.connection() as writing, app.connection() as reading:
        out = writing.SimpleQueue("q")
        for number in range(50):
            out.put({"n": number, "filling": "x" * 10_000})
        assert {path.suffix for path in (tmp_path / "messages").iterdir()} == {".msg"}
        incoming = reading.SimpleQueue("q")
        got = [incoming.get(timeout=5) for _ in range(50)]
        assert [message.payload["n"] for message in got] == list(range(50))
        for message in got:
            message.ack()
        out.close()
        incoming.close()
    assert list((tmp_path / "messages").iterdir()) == []
