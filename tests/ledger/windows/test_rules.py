"""A provider that logs what its windows do not support: each reader of the log refuses it, from the log alone."""

from __future__ import annotations

from typing import Any

import pytest

from ledger import log, models
from ledger.statements import rules
from ledger.statements.errors import RuleError
from ledger.statements.predicates import Predicate
from ledger.statements.predicates.certificate import NotOrdered
from ledger.statements.story import Story as Rules
from ledger.workflow import orders, suspension
from ledger.workflow.certificates import certify
from tests.ledger.requests.parts import days_later
from tests.ledger.story import Party, Story
from tests.ledger.windows.parts import answered, masked, order_of, said, second_model


def refuse(row: models.LogEntry, match: str, **changes: Any) -> None:
    """Its statement with these changes is refused in its place; as it is, it passes."""
    told, statement = Rules(), None
    for entry in models.LogEntry.objects.order_by("index"):
        statement = log.statement(entry).predicate
        if entry == row:
            break
        rules.check(told, entry.index, statement)
        told.add(entry.index, bytes(entry.leaf_hash), statement)
    assert isinstance(statement, Predicate)
    rules.check(told, row.index, statement)
    with pytest.raises(RuleError, match=match):
        rules.check(told, row.index, statement.model_copy(update=changes))


@pytest.fixture
def parties(story: Story) -> list[Party]:
    return [story.party(name) for name in "abc"]


def test_orders_follow_the_policy(story: Story, parties: list[Party]) -> None:
    order = masked(story, coverage="sampled(2)").orders.first()
    assert order is not None
    refuse(order.entry, "coverage is sampled", coverage="sampled(1)")
    refuse(order.entry, "coverage is full", coverage="full", draw_sha256=None)


def test_no_order_for_a_suspended_client(story: Story, parties: list[Party]) -> None:
    suspension.suspend_client(parties[0].row.uuid)
    order = order_of(masked(story), parties[1])
    refuse(order.entry, "which entry .* has suspended", client=parties[0].uuid, commitment=_commitment(parties[0]))


def test_a_certificate_says_what_happened(story: Story, parties: list[Party]) -> None:
    window = masked(story, quorumPercent=60)
    answered(story, parties[0], window)
    orders.except_order(order_of(window, parties[1]).uuid, "other")
    with days_later(60):
        (certificate,) = certify(window.uuid)
    it = said(certificate)
    assert (it.complete, it.quorum_percent) == (False, 60)
    refuse(certificate.entry, "complete is True, expected False", complete=True)
    refuse(certificate.entry, "quorumPercent is 50", quorum_percent=50, complete=True)
    refuse(certificate.entry, "coverage", coverage="sampled(5)")
    refuse(certificate.entry, "detection is 0.5", detection="0.5")
    met, excepted, silent = it.outcomes
    for changed, match in (
        (
            [met, excepted, silent.model_copy(update={"status": "met"})],
            "says met where the verdicts say unanswered",
        ),
        ([met, excepted, silent.model_copy(update={"status": "excepted"})], "expected|where the verdicts say"),
        ([met, excepted.model_copy(update={"status": "unanswered"}), silent], "where the verdicts say excepted"),
        ([met, excepted.model_copy(update={"exception": None}), silent], "does not refer to the exception"),
        ([met.model_copy(update={"status": "met-late"}), excepted, silent], "where the verdicts say met"),
        ([met, excepted], "exactly the orders"),
    ):
        refuse(certificate.entry, match, outcomes=changed)


def test_a_late_answer_is_not_called_punctual(story: Story, parties: list[Party]) -> None:
    window = masked(story)
    with days_later(60):
        answered(story, parties[0], window)
        (certificate,) = certify(window.uuid)
    outcomes = [one.model_copy(update={"status": "met"}) if one.status == "met-late" else one
                for one in said(certificate).outcomes]  # fmt: skip
    refuse(certificate.entry, "says met where the verdicts say met-late", outcomes=outcomes)


def test_nobody_is_called_suspended_who_was_not(story: Story, parties: list[Party]) -> None:
    suspension.suspend_client(parties[0].row.uuid)
    suspension.reinstate_client(parties[0].row.uuid)
    window = masked(story)
    with days_later(60):
        (certificate,) = certify(window.uuid)
    ref = log.entry_ref(models.Suspension.objects.get().set_entry)
    wrong = [NotOrdered(client=parties[0].uuid, reason="suspended", ref=ref)]
    refuse(certificate.entry, "suspension", not_ordered=wrong)
    early = [NotOrdered(client=parties[1].uuid, reason="committed-after-mask", ref=_commitment(parties[1]))]
    refuse(certificate.entry, "stands before the mask", not_ordered=early)


def test_supplements_form_one_chain(story: Story, parties: list[Party]) -> None:
    window = masked(story)
    with days_later(60):
        (first,) = certify(window.uuid)
        answered(story, parties[0], window)
        answered(story, parties[1], window)
    third = models.Certificate.objects.get(supplement=None)
    refuse(third.entry, "supplements None", supplements=None)
    refuse(third.entry, f"supplements {first.entry_id}", supplements=log.entry_ref(first.entry))


def test_a_request_is_not_fulfilled_while_a_model_is_left_out(story: Story) -> None:
    newer, request = second_model(story), story.approved_request()
    (one,) = certify(masked(story, request).uuid)
    certify(masked(story, request, model=newer).uuid)
    request.refresh_from_db()
    assert request.fulfilled_entry is not None
    refuse(request.fulfilled_entry, "leaves out the model", certificates=[log.entry_ref(one.entry)])
    refuse(request.fulfilled_entry, "neither a certificate nor a retirement", certificates=[])


def test_nor_by_an_incomplete_certificate(story: Story, parties: list[Party]) -> None:
    request, other = story.approved_request(), story.approved_request(**{"class": 2})
    window = masked(story, request)
    with days_later(60):
        (lame,) = certify(window.uuid)
    for party in parties:
        story.commit(party)
    again = masked(story, other)
    for party in parties:
        answered(story, party, again)
    certify(again.uuid)
    other.refresh_from_db()
    assert other.fulfilled_entry is not None
    refuse(
        other.fulfilled_entry, "request of certificate", certificates=[log.entry_ref(lame.entry)],
    )  # fmt: skip


def test_exceptions_and_suspensions(story: Story, parties: list[Party]) -> None:
    window = masked(story)
    answered(story, parties[0], window)
    order = orders.except_order(order_of(window, parties[1]).uuid, "other")
    assert order.exception_entry is not None
    met = order_of(window, parties[0])
    refuse(
        order.exception_entry, "which was met", order=log.entry_ref(met.entry), client=parties[0].uuid,
    )  # fmt: skip
    refuse(order.exception_entry, "client", client=parties[2].uuid)
    row = suspension.suspend_client(parties[0].row.uuid)
    refuse(row.set_entry, "in that state already", action="lift")
    refuse(row.set_entry, "number is 2, expected 1", number=2)


def _commitment(party: Party) -> Any:
    return log.entry_ref(models.ClientModel.objects.get(client=party.row).entry)


def test_a_forgeable_srs_is_not_called_a_ceremonys(story: Story, parties: list[Party]) -> None:
    """Whoever made a development SRS could forge proofs: verdicts and certificates may not hide it."""
    window = masked(story, quorumPercent=30)
    answered(story, parties[0], window)
    with days_later(60):
        (certificate,) = certify(window.uuid)
    sentence = "calls the SRS ceremony; the circuit release says development"
    refuse(models.VerdictRecord.objects.get().entry, sentence, srs_provenance="ceremony")
    refuse(certificate.entry, sentence, srs_provenance="ceremony")
