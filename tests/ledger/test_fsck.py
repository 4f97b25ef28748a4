"""fsck: a log as the workflow makes it holds; whatever is altered behind the ledger's back is named."""

from __future__ import annotations

import hashlib
import logging
import uuid
from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.utils import timezone

from ledger import keys, log, models, vault
from ledger.fsck.errors import FsckError
from ledger.fsck.leaves import BATCH, LEVELS, Frontier
from ledger.fsck.run import check_and_record, rebuild
from ledger.statements import keys as key_format
from ledger.statements import predicates
from ledger.statements.deadlines import LAW, due_at
from ledger.statements.statement import sign_statement
from ledger.tlog import merkle
from ledger.tlog.checkpoint import Checkpoint, sign_checkpoint
from ledger.workflow import proofs, request_steps, requests
from ledger.workflow.certificates import certify
from ledger.workflow.clients import invite_client, reenrol_client
from ledger.workflow.erase import erase
from ledger.workflow.rotation import rotate_key
from tests.ledger.story import Party, Story, verdict

NOW = timezone.now()


def quiet(*_: object) -> None:
    """No progress."""


def run() -> None:
    rebuild(quiet)


def tell(story: Story) -> Story:
    """A rejected attempt, an accepted one, a certificate, a denied request, an open window, all keys changed."""
    party, other = story.party(), story.party("second")
    invite_client("not enrolled")
    window = story.masked_window()
    order, late = window.orders.order_by("entry")
    proofs.record_verdict(story.proved(party, order).uuid, verdict(accepted=False))
    proofs.record_verdict(story.proved(party, order, 2).uuid, verdict())
    _, token = reenrol_client(other.row.uuid, "lost")
    other.token, other.key = token, key_format.generate()
    rotate_key("provider")
    other.enrol()
    rotate_key("log")
    proofs.record_verdict(story.proved(other, late).uuid, verdict())
    certify(window.uuid)
    waiting = requests.file_request("ccpa", "y", {"dataset": "d", "class": 0})
    request_steps.acknowledge(waiting.uuid)
    request_steps.record_identity(waiting.uuid, "phone", "failed", "no answer")
    request_steps.extend(waiting.uuid, "necessary", timezone.now())
    request_steps.set_hold(waiting.uuid, "litigation")
    request_steps.lift_hold(waiting.uuid, "hold-ended")
    request_steps.revoke(waiting.uuid)
    denied = requests.decide_request(
        requests.file_request("gdpr", "x", {"dataset": "d", "class": 0}).uuid, "denied", "no-match"
    )
    erase(denied.uuid, "subject-asked")
    log.publish_checkpoint()
    return story


@pytest.fixture
def told(story: Story) -> Story:
    return tell(story)


def sql(query: str, *values: Any) -> None:
    """Change the database as a superuser can: without triggers and foreign keys."""
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        cursor.execute(query, values)
        cursor.execute("SET session_replication_role = origin")


def entry(slug: str, number: int = 0) -> models.LogEntry:
    """The entry of a kind, the first or another."""
    return models.LogEntry.objects.filter(predicate_type__contains=f":{slug}:").order_by("index")[number]


@pytest.mark.django_db
def test_what_the_workflow_makes_holds(told: Story) -> None:
    figures = rebuild(quiet)
    assert figures.entries == models.LogEntry.objects.count() > 25
    assert figures.checkpoints == models.Checkpoint.objects.count()
    assert figures.rows > 20


@pytest.mark.django_db
def test_an_empty_log_holds() -> None:
    log.publish_checkpoint()
    assert rebuild(quiet).entries == 0


def test_the_frontier_is_the_tree() -> None:
    frontier, tree = Frontier(), merkle.MemoryTree()
    for number in range(70):
        tree.append(b"%d" % number)
        frontier.append(merkle.leaf_hash(b"%d" % number))
        assert frontier.root() == tree.root()


def flip_a_byte() -> str:
    at = entry("mask")
    data = bytearray(at.envelope)
    data[100] ^= 1
    sql("UPDATE ledger_logentry SET envelope = %s WHERE index = %s", bytes(data), at.index)
    return f"log entry {at.index} has the leaf hash"


def change_a_leaf_hash() -> str:
    sql("UPDATE ledger_logentry SET leaf_hash = %s WHERE index = 3", b"x" * 32)
    return f"log entry 3 has the leaf hash [0-9a-f]{{64}}, but {(b'x' * 32).hex()} is stored"


def change_a_node() -> str:
    sql("UPDATE ledger_lognode SET hash = %s WHERE level = 2 AND index = 1", b"x" * 32)
    return f"the hash of level 2, subtree 1, is {(b'x' * 32).hex()}, the leaves give"


def remove_a_node() -> str:
    sql("DELETE FROM ledger_lognode WHERE level = 1 AND index = 2")
    return "the hash of level 1, subtree 2, is missing"


def add_a_node() -> str:
    size = log.size()
    sql("INSERT INTO ledger_lognode (level, index, hash) VALUES (0, %s, %s)", size, b"x" * 32)
    return f"level 0, subtree {size}, is stored, but {size} entries do not reach it"


def swap_two_entries() -> str:
    """With hashes and nodes made anew, so that only a checkpoint and the references tell."""
    swap_only_the_indices()
    rebuild_nodes()
    return r"^log entry 2|the checkpoint of size \d+ is stored with the root"


def rebuild_nodes() -> None:
    tree = merkle.MemoryTree()
    nodes = []
    for index, row in enumerate(models.LogEntry.objects.order_by("index")):
        leaf = merkle.leaf_hash(bytes(row.envelope))
        nodes += merkle.new_nodes(index, leaf, tree)
        tree.append(bytes(row.envelope))
    sql("DELETE FROM ledger_lognode")
    models.LogNode.objects.bulk_create(models.LogNode(level=a, index=b, hash=c) for a, b, c in nodes)


def swap_only_the_indices() -> str:
    sql("UPDATE ledger_logentry SET index = index + 100000 WHERE index IN (2, 3)")
    sql("UPDATE ledger_logentry SET index = 100005 - index WHERE index > 100000")
    return "log entry 2|level 0, subtree 2|the checkpoint of size"


def delete_an_entry() -> str:
    sql("DELETE FROM ledger_logentry WHERE index = 4")
    return "log entry 4 is missing: the next one has index 5"


def change_a_signer() -> str:
    sql("UPDATE ledger_logentry SET signer = %s WHERE index = 1", "ab" * 32)
    return f"log entry 1 has the signer '{'ab' * 32}' in its row, but its envelope says"


def checkpoint_of_another_root() -> str:
    last = models.Checkpoint.objects.order_by("size").last()
    assert last is not None
    note = sign_checkpoint(Checkpoint(settings.LEDGER_ORIGIN, last.size, b"x" * 32), keys.log_signer())
    sql("UPDATE ledger_checkpoint SET root = %s, note = %s WHERE size = %s", b"x" * 32, note, last.size)
    return f"the checkpoint of size {last.size} is stored with the root {(b'x' * 32).hex()}, the leaves give"


def checkpoint_by_another_key() -> str:
    last = models.Checkpoint.objects.order_by("size").last()
    assert last is not None
    stranger = type(keys.log_signer())(settings.LEDGER_ORIGIN, key_format.generate())
    note = sign_checkpoint(Checkpoint(settings.LEDGER_ORIGIN, last.size, bytes(last.root)), stranger)
    sql("UPDATE ledger_checkpoint SET note = %s WHERE size = %s", note, last.size)
    return f"the checkpoint of size {last.size} does not check out"


def checkpoint_beyond_the_log() -> str:
    sql("INSERT INTO ledger_checkpoint (size, root, note, created_at) VALUES (9999, %s, '', now())", b"x" * 32)
    return "a checkpoint of size 9999, but the log has"


def order_met_without_proof() -> str:
    order = models.Order.objects.order_by("entry").first()
    assert order is not None
    sql("UPDATE ledger_order SET attempt = 9 WHERE uuid = %s", order.uuid)
    return f"the order {order.uuid} has attempt 9, the log makes it 2"


def verdict_turned() -> str:
    first = entry("verdict")
    sql("UPDATE ledger_verdictrecord SET accepted = true WHERE entry_id = %s", first.index)
    return f"the verdict record {first.index} has accepted True, the log makes it False"


def certificate_removed() -> str:
    sql("DELETE FROM ledger_certificate")
    return rf"the certificate {entry('certificate').index} is missing: the log calls for it"


def certificate_invented() -> str:
    row = models.Certificate.objects.get()
    sql(
        "INSERT INTO ledger_certificate (uuid, request_id, window_id, complete, entry_id)"
        " VALUES (%s, %s, %s, true, 0)",
        uuid.uuid4(), models.DeletionRequest.objects.exclude(pk=row.request_id)[0].pk, row.window_id,
    )  # fmt: skip
    return "the certificate 0 is stored, but nothing in the log calls for it"


def request_denied_in_silence() -> str:
    row = models.DeletionRequest.objects.get(state="fulfilled")
    sql("UPDATE ledger_deletionrequest SET state = 'denied' WHERE uuid = %s", row.uuid)
    return f"the deletion request {row.uuid} has state 'denied', the log makes it 'fulfilled'"


def identity_confirmed_in_silence() -> str:
    row = models.IdentityCheck.objects.get(result="failed")
    sql("UPDATE ledger_identitycheck SET result = 'verified' WHERE id = %s", row.pk)
    return f"the identity check {row.entry_id} has result 'verified', the log makes it 'failed'"


def hold_removed() -> str:
    row = models.LegalHold.objects.get()
    sql("DELETE FROM ledger_legalhold")
    return f"the legal hold {row.set_entry_id} is missing: the log calls for it"


def samples_exchanged() -> str:
    row = models.DeletionRequest.objects.get(state="fulfilled")
    sql("UPDATE ledger_deletionrequest SET reference = %s WHERE uuid = %s", "ab" * 32, row.uuid)
    return f"the deletion request {row.uuid} has reference '{'ab' * 32}', the log makes it '{row.reference}'"


def key_of_a_client_replaced() -> str:
    row = models.Client.objects.exclude(enrolled_entry=None)[0]
    sql("UPDATE ledger_client SET enrolled_entry_id = NULL WHERE uuid = %s", row.uuid)
    return f"the client {row.uuid} has enrolled_entry_id None, the log makes it {row.enrolled_entry_id}"


def record_erased_in_silence() -> str:
    row = models.DeletionRequest.objects.get(state="fulfilled")
    vault.erase(row.subject)
    return f"the sealed record of request {row.uuid} was erased, but no tombstone says so"


ATTACKS: list[Callable[[], str]] = [
    flip_a_byte, change_a_leaf_hash, change_a_node, remove_a_node, add_a_node, swap_two_entries,
    swap_only_the_indices, delete_an_entry, change_a_signer, checkpoint_of_another_root, checkpoint_by_another_key,
    checkpoint_beyond_the_log, order_met_without_proof, verdict_turned, certificate_removed, certificate_invented,
    request_denied_in_silence, identity_confirmed_in_silence, hold_removed, samples_exchanged,
    key_of_a_client_replaced, record_erased_in_silence,
]  # fmt: skip


@pytest.mark.django_db
def test_whatever_is_altered_is_named(told: Story) -> None:
    for attack in ATTACKS:
        with transaction.atomic():
            expected = attack()
            with pytest.raises(FsckError, match=expected):
                run()
            transaction.set_rollback(True)
    run()


# What a provider could append to its own log: well-formed leaves that break the rules.


def append(predicate: predicates.Predicate, key: Any = None) -> int:
    key = key or keys.provider_key()
    with transaction.atomic():
        made = log.append(sign_statement(predicate, key), key_format.keyid(key))
    return made.index


def said(slug: str, number: int = 0) -> Any:
    return log.statement(entry(slug, number)).predicate


def order_before_its_mask() -> str:
    """A commitment made after the mask, and an order for it all the same."""
    again = said("model-commitment").model_copy(update={"chunks": 3, "other_tensors_sha256": "cd" * 32})
    party: Party = STORY["party"]
    late = log.entry_ref(models.LogEntry.objects.get(index=append(again, party.key)))
    index = append(said("order").model_copy(update={"order": str(uuid.uuid4()), "commitment": late}))
    return f"order {index}: commitment, mask and order stand at {late.index}"


def statement_by_a_stranger() -> str:
    decision = said("request-decision").model_copy(update={"reason": "forged"})
    index = append(decision, key_format.generate())
    return rf"log entry {index} \(request-decision\) is not signed by whom it must be"


def client_statement_by_the_provider() -> str:
    index = append(said("model-commitment").model_copy(update={"other_tensors_sha256": "cd" * 32}))
    return rf"log entry {index} \(model-commitment\) is not signed by whom it must be"


def second_verdict() -> str:
    index = append(said("verdict").model_copy(update={"result": "accepted", "failures": [], "failed_chunks": 0}))
    return f"log entry {index} is the second verdict about the same; the first is entry {entry('verdict').index}"


def certificate_against_the_verdicts() -> str:
    real = said("certificate")
    outcomes = [real.outcomes[0].model_copy(update={"status": "rejected"}), *real.outcomes[1:]]
    before = log.entry_ref(entry("certificate"))
    index = append(real.model_copy(update={"supplements": before, "outcomes": outcomes}))
    return f"certificate {index} says rejected where the verdicts say met"


def reference_to_the_future() -> str:
    ref = said("request-decision").filed.model_copy(update={"index": 9_999})
    index = append(said("request-decision").model_copy(update={"filed": ref, "request": str(uuid.uuid4())}))
    return rf"log entry {index} \(request-decision\) refers to a later entry, 9999"


def challenge_with_an_unpublished_checkpoint() -> str:
    party: Party = STORY["party"]
    claim = said("claim", 0)
    order = models.Order.objects.get(entry=claim.order.index)
    index = append(claim.model_copy(update={"attempt": 3}), party.key)
    head = Checkpoint(settings.LEDGER_ORIGIN, index + 1, b"x" * 32)
    note = sign_checkpoint(head, keys.log_signer())
    made = models.LogEntry.objects.get(index=index)
    append(predicates.Challenge(claim=log.entry_ref(made), checkpoint=note))
    return f"claim {index} follows claim|challenge {index + 1} holds a checkpoint|{order.uuid}"


FORGERIES: list[Callable[[], str]] = [
    order_before_its_mask, statement_by_a_stranger, client_statement_by_the_provider, second_verdict,
    certificate_against_the_verdicts, reference_to_the_future, challenge_with_an_unpublished_checkpoint,
]  # fmt: skip
STORY: dict[str, Party] = {}


@pytest.mark.django_db
def test_what_breaks_the_rules_is_named(story: Story) -> None:
    party = STORY["party"] = story.party()
    window = story.masked_window()
    proofs.record_verdict(story.proved(party, window.orders.get()).uuid, verdict(accepted=False))
    proofs.record_verdict(story.proved(party, window.orders.get(), 2).uuid, verdict())
    certify(window.uuid)
    run()
    for forgery in FORGERIES:
        with transaction.atomic():
            expected = forgery()
            with pytest.raises(FsckError, match=expected):
                run()
            transaction.set_rollback(True)


@pytest.mark.django_db
def test_a_problem_is_an_alarm(told: Story, caplog: pytest.LogCaptureFixture) -> None:
    assert check_and_record().problem == ""
    change_a_node()
    with caplog.at_level(logging.ERROR, "ledger"):
        assert "level 2, subtree 1" in check_and_record().problem
    assert "ALARM" in caplog.text
    latest = models.FsckRun.objects.first()
    assert latest is not None
    assert "ALARM" in str(latest)
    with pytest.raises(CommandError, match="level 2, subtree 1") as caught:
        call_command("fsck", jobs=1)
    assert caught.value.returncode == 1


@pytest.mark.django_db
def test_the_beat_runs_it_every_day() -> None:
    from ledger import queue
    from prover_worker import tasks

    line = queue.app.conf.beat_schedule["fsck"]
    assert (line["task"], line["schedule"]) == (tasks.fsck.name, 24 * 3600)
    tasks.fsck()
    assert models.FsckRun.objects.get().problem == ""


def fill(count: int) -> None:
    """A long log of requests, written as `ledger.log` would."""
    tree, entries = merkle.MemoryTree(), []
    key = keys.provider_key()
    for index in range(count):
        said = predicates.DeletionRequest(
            request=str(uuid.uuid4()),
            commitment="ab" * 32,
            regulation="gdpr",
            received_at=NOW,
            due_at=due_at(NOW, LAW["gdpr"]),
        )
        made = sign_statement(said, key)
        data = made.to_bytes()
        tree.append(data)
        entries.append(models.LogEntry(
            index=index, leaf_hash=merkle.leaf_hash(data), envelope=data, predicate_type=said.type_uri(),
            statement_sha256=hashlib.sha256(made.payload).hexdigest(), signer=made.keyid,
        ))  # fmt: skip
    models.LogEntry.objects.bulk_create(entries, batch_size=2_000)
    models.LogNode.objects.bulk_create(
        (
            models.LogNode(level=level, index=index, hash=tree.read([(level, index)])[0])
            for level in range(count.bit_length())
            for index in range(count >> level)
        ),
        batch_size=5_000,
    )
    log.publish_checkpoint()


@pytest.mark.django_db(transaction=True)
def test_a_log_of_several_batches() -> None:
    """By one process and by two."""
    fill(2 * BATCH + 100)
    damaged = (LEVELS + 1, 0), (LEVELS, 1), (0, BATCH + 7)
    for jobs in (1, 2):
        assert rebuild(quiet, jobs, tables=False).entries == 2 * BATCH + 100
        with pytest.raises(FsckError, match="is missing: the log calls for it"):
            rebuild(quiet, jobs)
        for level, index in damaged:
            sql("UPDATE ledger_lognode SET hash = hash || 'x' WHERE level = %s AND index = %s", level, index)
            with pytest.raises(FsckError, match=f"the hash of level {level}, subtree {index}, is"):
                rebuild(quiet, jobs, tables=False)
        sql("UPDATE ledger_lognode SET hash = substr(hash, 1, 32) WHERE length(hash) > 32")


@pytest.mark.django_db(transaction=True)
def test_several_processes_see_one_snapshot(tmp_path: Any) -> None:
    tell(Story(tmp_path))
    out = StringIO()
    call_command("fsck", jobs=2, stdout=out)
    assert f"{models.LogEntry.objects.count()} entries hold" in out.getvalue()
