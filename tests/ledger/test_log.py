"""The log in PostgreSQL: append-only, idempotent, right under concurrency."""

from __future__ import annotations

import threading
import uuid

import pytest
from django.conf import settings
from django.db import DatabaseError, connection, transaction

from ledger import keys, log
from ledger.models import Checkpoint, LogEntry, LogNode
from ledger.statements import keys as key_format
from ledger.statements import predicates
from ledger.statements.dsse import Envelope
from ledger.statements.statement import sign_statement
from ledger.tlog import merkle
from ledger.tlog.checkpoint import open_checkpoint

KEY = key_format.generate()
SIGNER = key_format.keyid(KEY)


def envelope() -> Envelope:
    said = predicates.ClientEnrolment(client=str(uuid.uuid4()), public_key=key_format.public_hex(KEY))
    return sign_statement(said, KEY)


def append(count: int = 1) -> list[LogEntry]:
    with transaction.atomic():
        return [log.append(envelope(), SIGNER) for _ in range(count)]


def leaves() -> list[bytes]:
    return [bytes(entry.envelope) for entry in LogEntry.objects.order_by("index")]


@pytest.mark.django_db
def test_the_tree_is_that_of_the_leaves() -> None:
    for size in range(1, 20):
        append()
        head = log.publish_checkpoint()
        assert (head.size, bytes(head.root)) == (size, merkle.root_of(leaves()))
        opened = open_checkpoint(head.note, keys.log_signer().verifier, settings.LEDGER_ORIGIN)
        assert (opened.size, opened.root) == (size, bytes(head.root))
        for index in range(size):
            leaf = merkle.leaf_hash(leaves()[index])
            merkle.verify_inclusion(leaf, index, size, log.inclusion(index, size), opened.root)
        for old in range(1, size):
            root = bytes(Checkpoint.objects.get(size=old).root)
            merkle.verify_consistency(old, root, size, opened.root, log.consistency(old, size))


@pytest.mark.django_db
def test_the_empty_log_has_a_checkpoint() -> None:
    assert bytes(log.publish_checkpoint().root) == merkle.EMPTY_ROOT


@pytest.mark.django_db
def test_the_same_statement_is_logged_once() -> None:
    one = envelope()
    with transaction.atomic():
        first, second = log.append(one, SIGNER), log.append(one, SIGNER)
    assert first == second
    assert LogEntry.objects.count() == 1
    assert log.find(one) == first


@pytest.mark.django_db
def test_the_same_head_is_signed_once() -> None:
    append()
    assert log.publish_checkpoint() == log.publish_checkpoint()
    assert Checkpoint.objects.count() == 1


@pytest.mark.django_db
def test_references() -> None:
    one, two = append(2)
    ref = log.entry_ref(one)
    assert log.resolve(ref) == one
    assert log.resolve(ref.model_copy(update={"index": two.index})) is None
    assert log.resolve(ref.model_copy(update={"index": 99})) is None
    assert log.statement(one).predicate.slug == "client-enrolment"


@pytest.mark.django_db
@pytest.mark.parametrize("table", ["ledger_logentry", "ledger_lognode", "ledger_checkpoint"])
@pytest.mark.parametrize("order", ["UPDATE {} SET {}={}", "DELETE FROM {}", "TRUNCATE {} CASCADE"])
def test_nothing_is_changed_or_removed(table: str, order: str) -> None:
    append(3)
    log.publish_checkpoint()
    column = "level" if table == "ledger_lognode" else "size" if "checkpoint" in table else "index"
    before = (leaves(), LogNode.objects.count(), Checkpoint.objects.count())
    with pytest.raises(DatabaseError, match="Cannot"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(order.format(table, column, column))
    assert (leaves(), LogNode.objects.count(), Checkpoint.objects.count()) == before


@pytest.mark.django_db
def test_not_through_the_models_either() -> None:
    (entry,) = append()
    with pytest.raises(DatabaseError), transaction.atomic():
        entry.delete()
    with pytest.raises(DatabaseError), transaction.atomic():
        LogEntry.objects.update(signer="x")
    entry.signer = "x"
    with pytest.raises(DatabaseError), transaction.atomic():
        entry.save()


@pytest.mark.django_db(transaction=True)
def test_only_inside_a_transaction() -> None:
    with pytest.raises(RuntimeError, match="transaction"):
        log.append(envelope(), SIGNER)
    assert LogEntry.objects.count() == 0


@pytest.mark.django_db(transaction=True)
def test_what_fails_leaves_nothing() -> None:
    def interrupted() -> None:
        with transaction.atomic():
            log.append(envelope(), SIGNER)
            log.publish_checkpoint()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert (LogEntry.objects.count(), LogNode.objects.count(), Checkpoint.objects.count()) == (0, 0, 0)


@pytest.mark.django_db(transaction=True)
def test_many_writers_make_one_tree() -> None:
    twice = envelope()
    errors: list[Exception] = []

    def write() -> None:
        try:
            for _ in range(6):
                append()
                log.publish_checkpoint()
            with transaction.atomic():
                log.append(twice, SIGNER)
        except Exception as error:  # noqa: BLE001 - reported below, by the test's own thread
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=write) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert list(LogEntry.objects.values_list("index", flat=True)) == list(range(5 * 6 + 1))
    data = leaves()
    log.publish_checkpoint()
    for head in Checkpoint.objects.all():
        assert bytes(head.root) == merkle.root_of(data[: head.size])
