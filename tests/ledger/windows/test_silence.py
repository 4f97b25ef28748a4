"""Clients that do not answer: reminded, escalated, suspended, excepted; each step once."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from ledger import log, models
from ledger.statements import predicates
from ledger.workflow import claims, orders, proofs, silence, suspension
from ledger.workflow.certificates import certify
from tests.ledger.requests.parts import ANN, at, holds, refused
from tests.ledger.story import Party, Story, nobody, verdict
from tests.ledger.windows.parts import answered, kinds, masked, order_of, said

LOUD = {
    "orderDays": 20, "remindDaysBefore": [7, 3], "remindDaysAfter": [2], "escalateDaysAfter": 3,
    "suspendDaysAfter": 5,
}  # fmt: skip


def chased(moment: datetime) -> None:
    """Three rounds of the beat at one moment."""
    with at(moment):
        for _ in range(3):
            silence.chase()


@pytest.fixture
def party(story: Story) -> Party:
    return story.party()


def test_step_by_step(story: Story, party: Party) -> None:
    order = order_of(masked(story, **LOUD), party)
    issued = kinds(order=order.uuid)
    assert issued == ["order.issued"]
    expected = []
    for days, steps in (
        (-8, []), (-6.9, ["order.reminder"]), (-2.9, ["order.reminder"]), (0.1, ["order.overdue"]),
        (2.1, ["order.reminder"]), (3.1, ["order.escalated"]), (5.1, ["client.suspended"]), (60, []),
    ):  # fmt: skip
        expected += steps
        chased(order.due_at + timedelta(days=days))
        assert kinds(order=order.uuid) == issued + expected, days
    looked_into = models.Order.objects.filter(silence.escalated())
    assert looked_into.get() == order
    assert party.row.suspensions.get().reason == "unanswered"
    holds()
    models.Order.objects.update(state=models.Order.State.MET)
    assert not looked_into.exists()


def test_after_a_pause_the_steps_are_made_up_for_but_one_reminder_is_enough(story: Story, party: Party) -> None:
    order = order_of(masked(story, **LOUD), party)
    chased(order.due_at + timedelta(days=10))
    assert kinds(order=order.uuid)[1:] == [
        "order.reminder", "order.overdue", "order.escalated", "client.suspended",
    ]  # fmt: skip
    assert models.Event.objects.get(kind="order.reminder").data["by"] == "after-2"
    assert order.notices.count() == 6


def test_whoever_has_answered_is_left_in_peace(story: Story, party: Party) -> None:
    window = masked(story, **LOUD)
    answered(story, party, window)
    chased(order_of(window, party).due_at + timedelta(days=30))
    assert not models.OrderNotice.objects.exists()


def test_nobody_is_chased_while_the_next_step_is_ours(story: Story, party: Party) -> None:
    window = masked(story, **LOUD)
    story.proved(party, order_of(window, party))
    chased(order_of(window, party).due_at + timedelta(days=30))
    assert not models.OrderNotice.objects.exists()


def test_a_rejected_answer_is_no_answer(story: Story, party: Party) -> None:
    window = masked(story, **LOUD)
    answered(story, party, window, accepted=False)
    chased(order_of(window, party).due_at + timedelta(days=30))
    assert party.row.suspensions.get().reason == "rejected"


def test_an_officer_reminds(story: Story, party: Party) -> None:
    window = masked(story)
    silence.remind(order_of(window, party).uuid, actor=ANN)
    event = models.Event.objects.get(kind="order.reminder")
    assert (event.actor_name, event.client) == ("ann", party.row.uuid)
    answered(story, party, window)
    with refused("not-awaited", 409):
        silence.remind(order_of(window, party).uuid)


class TestExceptions:
    def test_an_excepted_order_is_over(self, story: Story, party: Party) -> None:
        window = masked(story)
        order = orders.except_order(order_of(window, party).uuid, "client-gone", actor=ANN)
        assert orders.except_order(order.uuid, "other").exception_reason == "client-gone"
        assert models.Window.objects.get().state == "settled"
        with refused("order-excepted", 409):
            claims.accept_claim(party.sign(party.claim(order)))
        entry = log.statement(order.exception_entry).predicate  # type: ignore[arg-type]
        assert isinstance(entry, predicates.OrderException)
        assert "ann" not in entry.model_dump_json()
        story.commit(party)  # a new model is no way around an order, but this order is gone
        holds()

    def test_what_cannot_be_excepted(self, story: Story, party: Party) -> None:
        window = masked(story)
        order = order_of(window, party)
        with refused("bad-reason", 422):
            orders.except_order(order.uuid, "they are nice people")
        with refused("not-found", 404):
            orders.except_order(nobody(), "other")
        proof = story.proved(party, order)
        with refused("order-pending", 409):
            orders.except_order(order.uuid, "other")
        proofs.record_verdict(proof.uuid, verdict())
        with refused("order-met", 409):
            orders.except_order(order.uuid, "other")

    def test_not_after_certification(self, story: Story, party: Party) -> None:
        window = masked(story)
        order = order_of(window, party)
        with at(order.due_at + timedelta(days=1)):
            certify(window.uuid)
        with refused("window-certified", 409):
            orders.except_order(order.uuid, "other")

    def test_an_answer_that_is_under_way_is_stopped(self, story: Story, party: Party) -> None:
        window = masked(story)
        claim = story.claimed(party, order_of(window, party))
        orders.except_order(order_of(window, party).uuid, "legal-reason")
        with refused("order-excepted", 409):
            proofs.accept_proof(party.sign(party.proof(claim)))
        holds()


class TestSuspension:
    def test_no_orders_and_the_certificate_says_so(self, story: Story, party: Party) -> None:
        other = story.party("other")
        suspension.suspend_client(party.row.uuid, actor=ANN)
        window = masked(story)
        assert [order.client_model.client for order in window.orders.all()] == [other.row]
        answered(story, other, window)
        certificate = certify(window.uuid)[0]
        assert [(one.client, one.reason) for one in said(certificate).not_ordered] == [(party.uuid, "suspended")]
        assert not certificate.complete  # who is suspended has not complied
        assert models.DeletionRequest.objects.get().state == "in_progress"
        holds()

    def test_it_ends_when_the_order_is_met(self, story: Story, party: Party) -> None:
        window = masked(story, **LOUD)
        order = order_of(window, party)
        chased(order.due_at + timedelta(days=10))
        with at(order.due_at + timedelta(days=11)):
            answered(story, party, window)
        assert party.row.suspensions.get().lift_reason == "complied"
        with refused("not-suspended", 409):
            suspension.reinstate_client(party.row.uuid)
        holds()

    def test_suspended_and_reinstated_in_turns(self, story: Story, party: Party) -> None:
        for _ in range(2):
            suspension.suspend_client(party.row.uuid, "officer", actor=ANN)
            with refused("suspended", 409):
                suspension.suspend_client(party.row.uuid)
            suspension.reinstate_client(party.row.uuid, actor=ANN)
        with refused("bad-reason", 422):
            suspension.suspend_client(party.row.uuid, "I do not like them")
        with refused("not-found", 404):
            suspension.suspend_client(nobody())
        assert kinds(client=party.row.uuid)[-4:] == ["client.suspended", "client.reinstated"] * 2
        assert masked(story).orders.count() == 1
        holds()
