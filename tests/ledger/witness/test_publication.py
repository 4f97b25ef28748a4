"""The operator's side, with real witnesses over HTTP: what is published, what is not, and where it shows."""

from __future__ import annotations

import base64
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pgtrigger
import pytest
from django.conf import LazySettings
from django.contrib.auth import get_user_model
from django.core import checks
from django.db import DatabaseError, connection, transaction
from django.test import Client as Browser
from django.utils import timezone

from ledger import keys, log, publication, queue
from ledger.log import NotCosignedError
from ledger.models import Checkpoint, CheckpointProposal, Cosignature, Job, WitnessState
from ledger.services import free_port
from ledger.statements.dsse import Envelope
from ledger.tlog import merkle
from ledger.tlog.cosignature import CosignatureVerifier, open_cosigned
from ledger.tlog.proof_text import open_proof
from ledger.witness.core import Answer, Witness
from ledger.workflow import jobs
from tests.ledger.test_log import SIGNER, envelope
from tests.ledger.witness.parts import NOW, STOPPING, WitnessProcess, serving, witness_in

pytestmark = pytest.mark.django_db(transaction=True)

State = WitnessState.State


class Witnesses:
    """Starts witnesses on chosen ports, stops them, and configures the ledger for them."""

    def __init__(self, folder: Path, settings: LazySettings) -> None:
        self.folder, self.settings = folder, settings
        self.running: dict[str, ExitStack] = {}
        self.addresses: dict[str, str] = {}
        self.verifiers: dict[str, CosignatureVerifier] = {}

    def start(self, *names: str) -> None:
        for name in names:
            witness = witness_in(self.folder / name, [keys.log_signer()], f"{name}.example")
            self.verifiers[name] = CosignatureVerifier.parse((self.folder / name / "witness.vkey").read_text()[:-1])
            self.running[name] = ExitStack()
            port = int(self.addresses[name].rpartition(":")[2]) if name in self.addresses else 0
            self.addresses[name] = self.running[name].enter_context(serving(witness, port))

    def stop(self, *names: str) -> None:
        for name in names:
            self.running.pop(name).close()

    def configure(self, quorum: str = "") -> None:
        pairs = [f"{self.addresses[name]} {self.verifiers[name].vkey}" for name in self.addresses]
        self.settings.LEDGER_WITNESSES, self.settings.LEDGER_WITNESS_QUORUM = ", ".join(pairs), quorum

    def state(self, name: str) -> WitnessState:
        return WitnessState.objects.get(vkey=self.verifiers[name].vkey)


@pytest.fixture
def witnesses(tmp_path: Path, settings: LazySettings) -> Iterator[Witnesses]:
    made = Witnesses(tmp_path, settings)
    yield made
    made.stop(*list(made.running))


def append(*envelopes: Envelope) -> list[Envelope]:
    with transaction.atomic():
        for each in envelopes:
            log.append(each, SIGNER)
    return list(envelopes)


def some(count: int) -> list[Envelope]:
    return [envelope() for _ in range(count)]


def overwrite_log_with(envelopes: list[Envelope]) -> None:
    """What only the owner of the database can do: the log as if it had always been these entries."""
    with pgtrigger.ignore(), connection.cursor() as cursor:
        cursor.execute(
            "TRUNCATE ledger_logentry, ledger_lognode, ledger_checkpoint, ledger_cosignature, "
            "ledger_checkpointproposal, ledger_witnessstate CASCADE"
        )
    append(*envelopes)


def shown() -> dict[str, Any]:
    answer = Browser().get("/api/v1/log/witnesses")
    assert answer.status_code == 200
    return answer.json()


def expect_nothing_published(count: int = 0) -> str:
    """The reason, which the caller of `publish` gets to read."""
    with pytest.raises(NotCosignedError) as caught:
        publication.publish(insist=True)
    assert Checkpoint.objects.count() == count
    return str(caught.value)


def test_the_published_checkpoint_carries_its_cosignatures(witnesses: Witnesses) -> None:
    witnesses.start("a", "b")
    witnesses.configure()
    for size in (3, 7):
        append(*some(size - log.size()))
        published = publication.publish()
        assert published.size == size
        assert publication.publish() == published
    note = Browser().get("/api/v1/log/checkpoint").content.decode()
    trusted = list(witnesses.verifiers.values())
    opened = open_cosigned(note, keys.log_signer().verifier, keys.log_signer().name, trusted)
    assert opened.times == {verifier.vkey: NOW for verifier in trusted}
    assert (opened.checkpoint.size, opened.checkpoint.root) == (7, bytes(published.root))
    state = shown()
    assert (state["quorum"], state["size"], state["publishedSize"], state["alarm"]) == (2, 7, 7, False)
    assert [(line["state"], line["size"]) for line in state["witnesses"]] == [("cosigned", 7)] * 2

    proof = Browser().get("/api/v1/log/entries/4/proof")
    entry = Browser().get("/api/v1/log/entries/4").json()
    leaf = merkle.leaf_hash(base64.b64decode(entry["envelope"]))
    signer = keys.log_signer()
    open_proof(proof.content.decode(), leaf, signer.verifier, signer.name, trusted).expect(2)
    append(*some(1))
    assert Browser().get("/api/v1/log/entries/7/proof").status_code == 404
    assert Browser().get("/api/v1/log/entries/99/proof").status_code == 404


def test_without_witnesses_all_is_as_it_was(witnesses: Witnesses) -> None:
    append(*some(2))
    assert publication.publish().size == 2
    assert CheckpointProposal.objects.count() == WitnessState.objects.count() == 0
    assert shown() | {"publishedAt": ""} == {
        "quorum": 0, "size": 2, "publishedSize": 2, "publishedAt": "", "alarm": False, "witnesses": [],
    }  # fmt: skip
    with transaction.atomic():
        assert publication.publish().size == 2


def test_a_witness_that_is_down(witnesses: Witnesses) -> None:
    witnesses.start("a", "b", "c")
    witnesses.configure()
    append(*some(2))
    witnesses.stop("b")
    assert publication.publish().note.count("\n— ") == 3  # the log and two witnesses: the quorum
    assert (witnesses.state("b").state, witnesses.state("b").failures) == (State.UNREACHABLE, 1)
    append(*some(2))
    witnesses.stop("c")
    reason = expect_nothing_published(1)
    assert "has 1 cosignatures and needs 2" in reason
    assert "b.example: no answer from http://127.0.0.1" in reason
    assert "c.example: no answer" in reason
    assert [line["state"] for line in shown()["witnesses"]] == ["cosigned", "unreachable", "unreachable"]
    assert (shown()["size"], shown()["publishedSize"]) == (4, 2)

    jobs.publish_new_entries()  # the sweep: too early to ask those that failed
    assert Checkpoint.objects.count() == 1
    assert witnesses.state("b").failures == 2
    WitnessState.objects.update(asked_at=timezone.now() - timedelta(minutes=6))
    witnesses.start("b")
    jobs.publish_new_entries()
    assert [head.size for head in Checkpoint.objects.all()] == [2, 4]
    assert (witnesses.state("b").state, witnesses.state("b").failures) == (State.COSIGNED, 0)


def test_patience_grows_and_ends(witnesses: Witnesses) -> None:
    row = WitnessState(vkey="x", asked_at=timezone.now() - timedelta(seconds=20))
    waits = []
    for row.failures in (0, 1, 2, 40):
        waits.append(publication._due(row))
    assert waits == [True, True, False, False]
    row.asked_at -= timedelta(minutes=5)
    assert publication._due(row)
    row.asked_at = timezone.now() + timedelta(days=3)  # by a host whose clock was wrong
    assert publication._due(row)


def test_a_fork_is_refused_and_seen(witnesses: Witnesses, caplog: pytest.LogCaptureFixture) -> None:
    """The log shows its witness one history and would publish another of the same size."""
    witnesses.start("a")
    witnesses.configure()
    overwrite_log_with(some(5))
    publication.publish()
    overwrite_log_with(some(5))
    assert "has cosigned another tree of 5 entries: this log has two histories" in expect_nothing_published()
    assert (witnesses.state("a").state, witnesses.state("a").alarm) == (State.FORK, True)
    assert shown()["alarm"] is True
    assert [record.levelname for record in caplog.records if record.name == "ledger.publication"] == ["CRITICAL"]
    assert len(list((witnesses.folder / "a" / "evidence").iterdir())) == 1
    append(*some(4))  # growing on does not help
    assert "is no extension of the 5 that the witness cosigned" in expect_nothing_published()
    assert witnesses.state("a").state == State.FORK


def test_a_rollback_is_refused_and_seen(witnesses: Witnesses) -> None:
    """The database was restored from an old copy: published entries are gone."""
    witnesses.start("a")
    witnesses.configure()
    history = append(*some(8))
    publication.publish()
    overwrite_log_with(history[:5])
    assert "has cosigned 8 entries, this log has 5: entries were lost" in expect_nothing_published()
    assert (witnesses.state("a").state, shown()["alarm"]) == (State.LOST, True)
    append(*history[5:])  # the missing entries were found again
    assert publication.publish(insist=True).size == 8
    assert (witnesses.state("a").state, shown()["alarm"]) == (State.COSIGNED, False)


def test_an_older_copy_with_cosignatures_is_seen(witnesses: Witnesses) -> None:
    """The copy's head was published and cosigned by everybody. Publishing it again asks nobody; `ask_all` does."""
    witnesses.start("a", "b")
    witnesses.configure("1")
    history = append(*some(5))
    publication.publish()
    assert [row.state for row in publication.ask_all()] == [State.COSIGNED, State.COSIGNED]
    tables = CheckpointProposal, Cosignature, Checkpoint, WitnessState
    copy = [(table, list(table.objects.all())) for table in tables]
    witnesses.stop("b")
    append(*some(3))
    publication.publish()
    overwrite_log_with(history)
    for table, rows in copy:
        table.objects.bulk_create(rows)
    witnesses.start("b")
    assert publication.publish(insist=True).size == 5
    assert not any(row.alarm for row in WitnessState.objects.all())
    assert [row.state for row in publication.ask_all()] == [State.LOST, State.COSIGNED]
    assert "has cosigned 8 entries, this log has 5: entries were lost" in witnesses.state("a").message
    with pytest.raises(RuntimeError, match="outside of transactions"), transaction.atomic():
        publication.ask_all()


def test_a_rewritten_entry_is_refused_and_seen(witnesses: Witnesses) -> None:
    witnesses.start("a")
    witnesses.configure()
    history = append(*some(6))
    publication.publish()
    overwrite_log_with([*history[:2], envelope(), *history[3:], envelope()])
    WitnessState.objects.create(vkey=witnesses.verifiers["a"].vkey, url="", size=6)
    assert "this log was rewritten" in expect_nothing_published()
    assert (witnesses.state("a").state, shown()["alarm"]) == (State.FORK, True)


def test_a_wrong_old_size_is_learnt_by_409(witnesses: Witnesses) -> None:
    """We died after the witness had persisted: it knows more than we remember."""
    witnesses.start("a")
    witnesses.configure()
    append(*some(3))
    publication.publish()
    append(*some(3))
    publication.publish()
    witnesses.settings.LEDGER_WITNESSES = ""
    with pgtrigger.ignore():
        Checkpoint.objects.filter(size=6).delete()
        Cosignature.objects.filter(proposal=6).delete()
    witnesses.configure()
    WitnessState.objects.update(size=0)
    assert publication.publish().size == 6  # the same tree, cosigned once more
    append(*some(2))
    WitnessState.objects.update(size=2)
    assert publication.publish().size == 8
    assert witnesses.state("a").size == 8


def test_a_witness_with_another_key(witnesses: Witnesses) -> None:
    witnesses.start("a", "b")
    witnesses.addresses["a"] = witnesses.addresses["b"]  # who answers there is not a
    witnesses.configure(quorum="2")
    append(*some(2))
    assert f"the answer holds no cosignature by {witnesses.verifiers['a'].vkey}" in expect_nothing_published()
    assert (witnesses.state("a").state, witnesses.state("b").state) == (State.WRONG_KEY, State.COSIGNED)
    assert shown()["alarm"] is False
    assert Cosignature.objects.get().name == "b.example"


class Saying:
    """A witness that says what it is told to."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)

    def add_checkpoint(self, body: bytes) -> Answer:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    latest = Witness.latest


@pytest.mark.parametrize(
    ("answers", "state", "words"),
    [
        ([Answer(403, b"who are \x1b[1m you?\n")], "refused", "status 403: who are  [1m you?"),
        ([Answer(302, b"over there")], "refused", "status 302"),
        ([Answer(409, b"many\n")], "refused", "status 409 without a size"),
        ([Answer(409, b"0\n")], "refused", "asked from size 0 and answers with just that size"),
        ([Answer(409, b"1\n"), Answer(409, b"2\n")], "fork", "another tree of 2 entries"),
        ([Answer(409, b"9\n")], "lost", "has cosigned 9 entries, this log has 2"),
        ([Answer(200, b"")], "wrong-key", "signature line"),
        ([Answer(200, b"x" * 70_000)], "unreachable", "more than 65536 bytes"),
    ],
)
def test_whatever_a_witness_says(witnesses: Witnesses, answers: list[Answer], state: str, words: str) -> None:
    witnesses.start("a")
    append(*some(2))
    with serving(Saying(*answers)) as url:  # type: ignore[arg-type]
        witnesses.addresses["a"] = url
        witnesses.configure()
        assert words in expect_nothing_published()
    assert witnesses.state("a").state == state


def test_killed_before_it_persists(witnesses: Witnesses, tmp_path: Path) -> None:
    """kill -9 of the witness in the middle of our question: unreachable, then cosigned by who comes back."""
    port, folder, vkey = free_port(), tmp_path / "p", keys.log_signer().vkey
    stopping = WitnessProcess(folder, vkey, port, STOPPING.format(before=True))
    witnesses.verifiers["p"] = CosignatureVerifier.parse(stopping.vkey)
    witnesses.addresses["p"] = stopping.url
    witnesses.configure()
    append(*some(4))

    def kill_in_the_middle() -> None:
        stopping.read("stopped here")
        stopping.kill()

    killing = threading.Thread(target=kill_in_the_middle)
    killing.start()
    assert "p.example: no answer" in expect_nothing_published().replace("w.example/p", "p.example")
    killing.join()
    assert witnesses.state("p").state == State.UNREACHABLE
    again = WitnessProcess(folder, vkey, port)
    try:
        assert publication.publish(insist=True).size == 4
        assert witnesses.state("p").state == State.COSIGNED
    finally:
        again.kill()


def test_we_are_killed_between_any_two_writes(witnesses: Witnesses, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each write fails once, before and after; what was left is enough to go on, and no second root is signed."""
    witnesses.start("a")
    witnesses.configure()
    append(*some(3))

    def killed(function: Callable[..., Any], *, before: bool) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            if not before:
                function(*args, **kwargs)
            raise KeyboardInterrupt

        return run

    for name in ("_propose", "_take", "_collect", "_publish"):
        for before in (True, False):
            with monkeypatch.context() as patch:
                patch.setattr(publication, name, killed(getattr(publication, name), before=before))
                with pytest.raises(KeyboardInterrupt):
                    publication.publish(insist=True)
        assert CheckpointProposal.objects.count() == 1
        if name != "_publish":
            assert Checkpoint.objects.count() == 0
    assert publication.publish().size == 3
    assert Checkpoint.objects.count() == CheckpointProposal.objects.count() == Cosignature.objects.count() == 1


def test_many_publishers_at_once(witnesses: Witnesses) -> None:
    witnesses.start("a", "b")
    witnesses.configure()
    errors: list[Exception] = []

    def work() -> None:
        try:
            for _ in range(3):
                append(*some(2))
                try:
                    publication.publish(insist=True)
                except NotCosignedError as error:
                    assert "ALARM" not in str(error)  # noqa: PT017 - others may be quicker, that is all
        except Exception as error:  # noqa: BLE001 - reported below, by the test's own thread
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert publication.publish(insist=True).size == 24
    assert not any(row.alarm for row in WitnessState.objects.all())
    trusted = list(witnesses.verifiers.values())
    signer = keys.log_signer()
    for head in Checkpoint.objects.all():
        open_cosigned(head.note, signer.verifier, signer.name, trusted).expect(2)
        assert bytes(head.root) == log.root_at(head.size)


def test_the_log_alone_publishes_nothing(witnesses: Witnesses) -> None:
    witnesses.start("a")
    witnesses.configure()
    append(*some(1))
    with pytest.raises(NotCosignedError, match="waits for the cosignatures"):
        log.publish_checkpoint()
    with pytest.raises(RuntimeError, match="outside of transactions"), transaction.atomic():
        publication.publish()


def test_a_witness_that_was_removed_does_not_count(witnesses: Witnesses) -> None:
    witnesses.start("a", "b")
    witnesses.configure(quorum="2")
    append(*some(1))
    witnesses.stop("b")
    expect_nothing_published()
    del witnesses.addresses["a"]
    witnesses.configure()
    assert "has 0 cosignatures and needs 1" in expect_nothing_published()


def test_a_challenge_waits_for_the_witnesses(witnesses: Witnesses) -> None:
    """The worker's job is put back without costing an attempt, and says what it waits for."""
    from prover_worker import tasks

    witnesses.start("a")
    witnesses.configure()
    witnesses.stop("a")
    append(*some(1))
    job = queue.enqueue(Job.Kind.CHALLENGE, uuid.uuid4())

    def draw(_: Job) -> None:
        publication.publish()

    for _ in range(5):
        tasks._work(str(job.uuid), draw)
        job.refresh_from_db()
        assert (job.state, job.attempts) == (Job.State.QUEUED, 0)
    assert job.message.startswith("the head of 1 entries is not published")
    witnesses.start("a")
    WitnessState.objects.update(failures=0)
    tasks._work(str(job.uuid), draw)
    job.refresh_from_db()
    assert job.state == Job.State.DONE


def test_officers_see_and_ask(witnesses: Witnesses) -> None:
    witnesses.start("a")
    witnesses.configure()
    witnesses.stop("a")
    append(*some(1))
    expect_nothing_published()
    officer = Browser()
    officer.force_login(get_user_model().objects.create_superuser("officer"))
    page = officer.get("/admin/ledger/witnessstate/")
    assert b"no answer from http://127.0.0.1" in page.content
    ask = {"action": "ask_now", "_selected_action": [witnesses.verifiers["a"].vkey]}
    refused = officer.post("/admin/ledger/witnessstate/", ask, follow=True)
    assert b"is not published" in refused.content
    witnesses.start("a")
    done = officer.post("/admin/ledger/witnessstate/", ask, follow=True)

    assert b"he checkpoint of 1 entries is published" in done.content
    for name in ("checkpointproposal", "cosignature"):
        page = officer.get(f"/admin/ledger/{name}/")
        assert b"a.example" in page.content


@pytest.mark.parametrize("order", ["UPDATE {} SET created_at = now()", "DELETE FROM {}", "TRUNCATE {} CASCADE"])
@pytest.mark.parametrize("table", ["ledger_checkpointproposal", "ledger_cosignature"])
def test_what_was_signed_stays(witnesses: Witnesses, table: str, order: str) -> None:
    proposal = CheckpointProposal.objects.create(size=0, root=merkle.EMPTY_ROOT)
    Cosignature.objects.create(proposal=proposal, vkey="x", line="y", time=0)
    with pytest.raises(DatabaseError, match="Cannot"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(order.format(table))
    assert (CheckpointProposal.objects.count(), Cosignature.objects.count()) == (1, 1)


def test_misconfiguration_is_found_by_check(settings: LazySettings) -> None:
    settings.LEDGER_WITNESSES = f"http://w {keys.log_signer().vkey}"
    found = [problem for problem in checks.run_checks() if problem.id == "ledger.E010"]
    assert len(found) == 1
    assert "0x04" in found[0].msg
    settings.LEDGER_WITNESSES = ""
