"""A client says why it does not obey an order: who may, when, what it changes, what readers of the log refuse."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction

from ledger import log, models
from ledger.api import render, render_windows
from ledger.fsck.errors import FsckError
from ledger.fsck.run import rebuild
from ledger.statements import keys as key_format
from ledger.statements import predicates
from ledger.statements.statement import sign_statement
from ledger.workflow import proofs
from ledger.workflow.certificates import certify
from ledger.workflow.errors import WorkflowError
from ledger.workflow.intake import accept_statement
from tests.bundles import Bundle, window_bundle
from tests.ledger.story import Party, Story, verdict

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.fixture
def story(tmp_path: Path) -> Story:
    return Story(tmp_path)


@pytest.fixture
def party(story: Story) -> Party:
    return story.party()


@pytest.fixture
def order(story: Story, party: Party) -> models.Order:
    return story.masked_window().orders.get()


def objection(party: Party, order: models.Order, **changes: Any) -> predicates.OrderObjection:
    said = predicates.OrderObjection(
        order=log.entry_ref(order.entry), client=party.uuid, reason="damage", objected_at=NOW
    )
    return said.model_copy(update=changes)


def check() -> None:
    rebuild(lambda *_: None)


def test_an_objection_is_logged_and_shown_and_the_order_stands(party: Party, order: models.Order) -> None:
    accepted = accept_statement(party.sign(objection(party, order)), "")
    order = models.Order.objects.get()
    assert (order.state, order.attempt) == ("issued", 0)
    said = {"reason": "damage", "ref": log.entry_ref(accepted.entry).model_dump(by_alias=True)}
    assert render.order(order)["objection"] == said
    assert render_windows.window(order.window)["orders"][0]["objection"] == said
    event = models.Event.objects.get(kind="order.objected")
    assert (event.actor_kind, event.actor_id, event.data) == ("client", party.uuid, {"reason": "damage"})
    assert (event.order, event.window, event.entry) == (order.uuid, order.window_id, accepted.entry)
    check()


def test_whoever_lost_the_answer_sends_it_again(party: Party, order: models.Order) -> None:
    body = party.sign(objection(party, order))
    first = accept_statement(body, "")
    again = accept_statement(body, "")
    assert (again.entry, again.created) == (first.entry, False)


def test_once_for_an_order(party: Party, order: models.Order) -> None:
    accept_statement(party.sign(objection(party, order)), "")
    with pytest.raises(WorkflowError, match=r"has objected to order .* before"):
        accept_statement(party.sign(objection(party, order, reason="unable")), "")


def test_only_against_an_order_of_ones_own(story: Story, party: Party, order: models.Order) -> None:
    stranger = story.party("stranger")
    with pytest.raises(WorkflowError, match="is no order to client"):
        accept_statement(stranger.sign(objection(stranger, order)), "")
    with pytest.raises(WorkflowError, match="speaks for client"):
        accept_statement(stranger.sign(objection(party, order)), "")


def test_not_against_an_order_that_was_met(story: Story, party: Party, order: models.Order) -> None:
    proofs.record_verdict(story.proved(party, order).uuid, verdict())
    with pytest.raises(WorkflowError, match="is met and its window settled: nothing is open"):
        accept_statement(party.sign(objection(party, order)), "")


def test_the_client_may_change_its_mind_and_obey(story: Story, party: Party, order: models.Order) -> None:
    accept_statement(party.sign(objection(party, order)), "")
    proofs.record_verdict(story.proved(party, order).uuid, verdict())
    certify(order.window_id)
    assert "order-objection" in Bundle.of(window_bundle(order.window_id)).kinds()  # an auditor sees it
    check()


def append(predicate: predicates.Predicate, party: Party) -> None:
    """Past the workflow, as somebody with access to the database could."""
    with transaction.atomic():
        log.lock()
        log.append(sign_statement(predicate, party.key), key_format.keyid(party.key))


def test_readers_of_the_log_refuse_what_the_workflow_would(story: Story, party: Party, order: models.Order) -> None:
    stranger = story.party("stranger")
    for predicate, signer, reason in (
        (objection(stranger, order), stranger, "is by another client than order"),
        (objection(party, order), stranger, "not signed by whom it must be"),
    ):
        with transaction.atomic():
            append(predicate, signer)
            with pytest.raises(FsckError, match=reason):
                check()
            transaction.set_rollback(True)
    accept_statement(party.sign(objection(party, order)), "")
    append(objection(party, order, reason="other"), party)
    with pytest.raises(FsckError, match="is the second order-objection about the same"):
        check()


def test_readers_refuse_an_objection_after_the_order_was_met(
    story: Story, party: Party, order: models.Order
) -> None:
    proofs.record_verdict(story.proved(party, order).uuid, verdict())
    append(objection(party, order), party)
    with pytest.raises(FsckError, match=r"comes after order .* was met"):
        check()


def test_a_row_that_the_log_does_not_know_is_found(party: Party, order: models.Order) -> None:
    models.Objection.objects.create(order=order, reason="damage", entry=order.entry)
    with pytest.raises(FsckError, match="is stored, but nothing in the log calls for it"):
        check()


def test_objections_are_never_rewritten(party: Party, order: models.Order) -> None:
    accept_statement(party.sign(objection(party, order)), "")
    with pytest.raises(DatabaseError, match="append_only"), transaction.atomic():
        models.Objection.objects.update(reason="other")
    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("DELETE FROM ledger_objection")
