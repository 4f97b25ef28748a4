"""Certificates: quorum, late and missing clients, supplements, several models, samples."""

from __future__ import annotations

import hashlib
import io
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from ledger import log, models
from ledger.fsck.errors import FsckError
from ledger.statements import predicates
from ledger.workflow import claims, commitments, orders, proofs, releases, windows
from ledger.workflow.certificates import certify, latest_certificates
from ledger.workflow.proofs import VerdictResult
from ledger.workflow.suspension import suspend_client
from prover_worker.audit.opening import open_bundle
from tests.bundles import window_bundle
from tests.ledger.requests.parts import ANN, at, holds, refused
from tests.ledger.story import TOTAL, Party, Story, nobody
from tests.ledger.windows.parts import answered, kinds, masked, order_of, said, second_model


def overdue(window: models.Window) -> Any:
    """The clock stands a day after the due date."""
    return at(window.orders.first().due_at + timedelta(days=1))  # type: ignore[union-attr]


def statuses(certificate: models.Certificate) -> dict[str, str]:
    return {outcome.client: outcome.status for outcome in said(certificate).outcomes}


class TestQuorum:
    @pytest.mark.parametrize(("percent", "complete"), [(100, False), (67, False), (66, True), (1, True)])
    def test_two_of_three(self, story: Story, percent: int, complete: bool) -> None:
        parties = [story.party(name) for name in "abc"]
        window = masked(story, quorumPercent=percent)
        for party in parties[:2]:
            answered(story, party, window)
        with overdue(window):
            (certificate,) = certify(window.uuid)
        assert certificate.complete is complete
        assert sorted(statuses(certificate).values()) == ["met", "met", "unanswered"]
        assert models.DeletionRequest.objects.get().state == ("fulfilled" if complete else "in_progress")
        holds()

    def test_excepted_orders_do_not_count(self, story: Story) -> None:
        one, two = story.party("one"), story.party("two")
        window = masked(story)
        answered(story, one, window)
        orders.except_order(order_of(window, two).uuid, "client-unable")
        (certificate,) = certify(window.uuid)
        assert certificate.complete
        outcome = next(one for one in said(certificate).outcomes if one.client == two.uuid)
        assert outcome.status == "excepted"
        assert outcome.exception == log.entry_ref(order_of(window, two).exception_entry)  # type: ignore[arg-type]
        holds()

    def test_excepting_everybody_fulfils_nothing(self, story: Story) -> None:
        story.party()
        window = masked(story, quorumPercent=1)
        orders.except_order(window.orders.get().uuid, "other")
        (certificate,) = certify(window.uuid)
        assert not certificate.complete
        assert models.DeletionRequest.objects.get().state == "in_progress"


class TestLate:
    def test_accepted_until_certification_and_marked(self, story: Story) -> None:
        party = story.party()
        window = masked(story)
        with overdue(window):
            answered(story, party, window)
            (certificate,) = certify(window.uuid)
        assert statuses(certificate) == {party.uuid: "met-late"}
        assert certificate.complete
        claimed = models.Event.objects.get(kind="order.claimed")
        assert claimed.data == {"late": True}
        holds()

    def test_a_late_answer_brings_a_supplement(self, story: Story) -> None:
        party, other = story.party(), story.party("other")
        window = masked(story)
        answered(story, other, window)
        with overdue(window):
            (first,) = certify(window.uuid)
            assert statuses(first) == {party.uuid: "unanswered", other.uuid: "met"}
            answered(story, party, window)
        (second,) = latest_certificates(window)
        assert said(second).supplements == log.entry_ref(first.entry)
        assert statuses(second) == {party.uuid: "met-late", other.uuid: "met"}
        assert (first.complete, second.complete) == (False, True)
        request = models.DeletionRequest.objects.get()
        assert request.state == "fulfilled"
        assert kinds(request=request.uuid)[-1] == "request.fulfilled"
        assert certify(window.uuid) == [second]
        holds()
        opened = open_bundle(io.BytesIO(window_bundle(window.uuid)))
        assert sum(1 for _ in opened.of(predicates.Certificate)) == 2

    def test_a_rejection_after_certification_changes_nothing(self, story: Story) -> None:
        party = story.party()
        window = masked(story)
        with overdue(window):
            (first,) = certify(window.uuid)
            answered(story, party, window, accepted=False)
        assert latest_certificates(window) == [first]
        holds()

    def test_not_once_the_commitment_was_replaced(self, story: Story) -> None:
        party = story.party()
        window = masked(story)
        order = order_of(window, party)
        with overdue(window):
            certify(window.uuid)
        story.commit(party)
        with refused("commitment-replaced", 409):
            claims.accept_claim(party.sign(party.claim(order)))

    def test_not_once_a_later_order_is_about_the_same_commitment(self, story: Story) -> None:
        party = story.party()
        window = masked(story)
        order = order_of(window, party)
        with overdue(window):
            certify(window.uuid)
        late = windows.open_window(story.model, None, [story.approved_request().uuid])
        windows.close_window(late.uuid)
        with refused("later-order", 409):  # its orders are about to come
            claims.accept_claim(party.sign(party.claim(order)))
        windows.publish_mask(late.uuid, b"another mask", 2, TOTAL, {})
        with refused("later-order", 409):
            claims.accept_claim(party.sign(party.claim(order)))
        answered(story, party, models.Window.objects.get(pk=late.pk))
        holds()

    def test_no_window_closes_over_a_late_answer_that_is_being_judged(self, story: Story) -> None:
        party = story.party()
        window = masked(story)
        following = windows.open_window(story.model, None, [story.approved_request().uuid])
        with overdue(window):
            certify(window.uuid)
            proof = story.proved(party, order_of(window, party))
            with refused("order-pending", 409):
                windows.close_window(following.uuid)
            proofs.record_verdict(proof.uuid, VerdictResult(True, [], 0, 2, 1))
            windows.close_window(following.uuid)
        holds()


class TestChangedModels:
    def test_no_new_commitment_while_an_order_is_open(self, story: Story) -> None:
        party = story.party()
        masked(story)
        with refused("order-pending", 409):
            story.commit(party)

    def test_who_commits_after_the_mask_is_named(self, story: Story) -> None:
        party = story.party()
        window = masked(story)
        late = story.party("late")
        answered(story, party, window)
        story.commit(party)  # its unlearned model: it had its order
        (certificate,) = certify(window.uuid)
        assert [(one.client, one.reason) for one in said(certificate).not_ordered] == [
            (late.uuid, "committed-after-mask")
        ]
        assert certificate.complete  # it was not asked
        bundle = open_bundle(io.BytesIO(window_bundle(window.uuid)))
        assert sum(1 for _ in bundle.of(predicates.ModelCommitment)) == 2
        holds()

    def test_the_next_window_reaches_it(self, story: Story) -> None:
        masked_one = masked(story)
        late = story.party("late")
        certify(masked_one.uuid)
        assert order_of(masked(story), late)


class TestSeveralModels:
    def test_fulfilled_when_every_model_is_certified(self, story: Story) -> None:
        newer = second_model(story, supersedes=log.entry_ref(story.model.entry))
        assert newer.supersedes == story.model
        party, request = story.party(), story.approved_request()
        first, second = masked(story, request), masked(story, request, model=newer)
        answered(story, party, first)
        certify(first.uuid)
        request.refresh_from_db()
        assert request.state == "in_progress"  # clients of the newer model had no order yet
        certify(second.uuid)
        request.refresh_from_db()
        assert request.state == "fulfilled"
        entry = log.statement(request.fulfilled_entry).predicate  # type: ignore[arg-type]
        assert isinstance(entry, predicates.RequestFulfilment)
        assert len(entry.certificates) == 2
        holds()

    def test_models_released_after_the_decision_are_not_concerned(self, story: Story) -> None:
        request = story.approved_request()
        second_model(story)
        certify(masked(story, request).uuid)
        request.refresh_from_db()
        assert request.state == "fulfilled"
        holds()

    def test_one_window_of_a_model_for_a_request(self, story: Story) -> None:
        request = story.approved_request()
        masked(story, request)
        with refused("not-available", 409):
            windows.open_window(story.model, None, [request.uuid])

    def test_retirement_sets_requests_free(self, story: Story) -> None:
        older = second_model(story, "older")
        request = story.approved_request()
        certify(masked(story, request).uuid)
        request.refresh_from_db()
        assert request.state == "in_progress"
        releases.retire_model(older.uuid, "withdrawn", actor=ANN)
        assert releases.retire_model(older.uuid, "withdrawn").retired_reason == "withdrawn"
        request.refresh_from_db()
        assert request.state == "fulfilled"
        older.refresh_from_db()
        another = story.approved_request()
        with refused("model-retired", 409):
            windows.open_window(older, None, [another.uuid])
        holds()

    def test_a_retired_model_takes_no_commitments(self, story: Story) -> None:
        party = story.party(committed=False)
        releases.retire_model(story.model.uuid, "superseded")
        said = party.commitment(log.entry_ref(story.model.entry), log.entry_ref(story.circuit.entry))
        with refused("model-retired", 409):
            commitments.accept_commitment(party.sign(said))

    def test_not_while_a_window_waits(self, story: Story) -> None:
        masked(story)
        with refused("window-pending", 409):
            releases.retire_model(story.model.uuid, "superseded")
        with refused("bad-reason", 422):
            releases.retire_model(story.model.uuid, "old")
        with refused("not-found", 404):
            releases.retire_model(nobody(), "superseded")

    def test_a_release_supersedes_one_in_use(self, story: Story) -> None:
        with refused("wrong-reference", 422):
            second_model(story, supersedes=log.entry_ref(story.circuit.entry))


class TestSamples:
    @pytest.fixture
    def party(self, story: Story) -> Party:
        return story.party()

    def test_an_order_binds_the_provider_and_its_challenge_discloses(self, story: Story, party: Party) -> None:
        story.party("other")
        window = masked(story, coverage="sampled(1)")
        order = order_of(window, party)
        assert said(order).coverage == order.coverage == "sampled(1)"
        assert said(order).draw_sha256 == hashlib.sha256(bytes.fromhex(order.draw_secret)).hexdigest()
        assert len({one.draw_secret for one in window.orders.all()}) == 2
        claim = story.claimed(party, order)
        assert said(claim.challenge).draw_secret == order.draw_secret
        holds()

    def test_verdict_and_certificate_state_what_a_sample_catches(self, story: Story, party: Party) -> None:
        window = masked(story, coverage="sampled(1)")
        proof = story.proved(party, order_of(window, party))
        record = proofs.record_verdict(proof.uuid, VerdictResult(True, [], 0, 1, 1, touched_chunks=4))
        verdict = said(record)
        assert (verdict.coverage, verdict.detection, verdict.proved_chunks) == ("sampled(1)", "0.25", 1)
        assert [(one.chance, one.chunks) for one in verdict.caught] == [("0.95", 4), ("0.99", 4)]
        certificate = said(certify(window.uuid)[0])
        assert (certificate.coverage, certificate.detection) == ("sampled(1)", "0.25")
        assert certificate.caught == verdict.caught
        assert any("drawn" in line for line in certificate.proves)
        assert "Anything about touched chunks that were not drawn." in certificate.does_not_prove
        holds()

    def test_everything_is_due_after_a_rejection(self, story: Story, party: Party) -> None:
        window = masked(story, coverage="sampled(1)")
        order = order_of(window, party)
        proof = story.proved(party, order)
        proofs.record_verdict(proof.uuid, VerdictResult(False, [(1, "no")], 1, 1, 1, touched_chunks=2))
        order.refresh_from_db()
        proof = story.proved(party, order, 2)
        assert said(proof.claim.challenge).draw_secret is None
        record = proofs.record_verdict(proof.uuid, VerdictResult(True, [], 0, 2, 1, touched_chunks=2))
        assert (said(record).coverage, said(record).detection, said(record).caught) == ("full", "1", [])
        assert said(certify(window.uuid)[0]).detection == "1"
        holds()

    def test_another_secret_behind_the_ledgers_back_is_found(self, story: Story, party: Party) -> None:
        window = masked(story, coverage="sampled(1)")
        window.orders.update(draw_secret="00" * 32)
        with pytest.raises(FsckError, match="is not the one that the log is bound to"):
            holds()

    def test_what_is_in_a_window_is_compared_too(self, story: Story) -> None:
        window = masked(story)
        window.requests.add(story.approved_request())
        with pytest.raises(FsckError, match="only as stored"):
            holds()


def test_orders_are_due_with_the_first_request_at_the_latest(story: Story) -> None:
    story.party()
    request = story.approved_request()
    assert masked(story, request, orderDays=365).orders.get().due_at == request.due_at
    releases_at = timezone.now()
    models.Window.objects.update(state="certified")
    due = masked(story, orderDays=9).orders.get().due_at
    assert abs(due - releases_at - timedelta(days=9)) < timedelta(minutes=5)


def test_who_is_suspended_before_the_mask_only(story: Story) -> None:
    """Suspension afterwards takes no order away, and the certificate tells what became of it."""
    party = story.party()
    window = masked(story)
    suspend_client(party.row.uuid)
    with overdue(window):
        (certificate,) = certify(window.uuid)
    assert statuses(certificate) == {party.uuid: "unanswered"}
    assert said(certificate).not_ordered == []
    holds()
