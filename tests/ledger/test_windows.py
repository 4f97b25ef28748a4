"""Windows, their masks and certificates: who may do what, and when."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from ledger import log, models
from ledger.statements import predicates
from ledger.workflow import proofs, requests, windows
from ledger.workflow.certificates import certify
from tests.bundles import window_bundle
from tests.ledger.story import FORGET, TOTAL, Story, approve, nobody, refused, verdict


class TestWindows:
    def test_what_cannot_be_opened(self, story: Story) -> None:
        request = story.approved_request()
        with refused("no-requests", 422):
            windows.open_window(story.model, None, [])
        with refused("not-found", 404):
            windows.open_window(nobody(), None, [request.uuid])
        with refused("wrong-forget-set", 422):
            windows.open_window(story.model, {"forget": {"class": 1}}, [request.uuid])
        other = requests.file_request("gdpr", "x", FORGET | {"class": 3})
        approve(other)
        elsewhere = approve(requests.file_request("gdpr", "y", {"dataset": "else", "class": 3}))
        with refused("wrong-dataset", 422):
            windows.open_window(story.model, None, [request.uuid, elsewhere.uuid])
        windows.open_window(story.model, None, [request.uuid])
        with refused("not-available", 409):
            windows.open_window(story.model, None, [request.uuid])

    def test_the_models_dataset(self, story: Story) -> None:
        request = approve(requests.file_request("gdpr", "x", {"dataset": "else", "class": 1}))
        with refused("wrong-dataset", 422):
            windows.open_window(story.model, None, [request.uuid])

    def test_closed_once_and_then_masked_once(self, story: Story) -> None:
        window = story.closed_window()
        assert models.Job.objects.get().kind == "mask"
        with refused("not-open", 409):
            windows.close_window(window.uuid)
        first = windows.publish_mask(window.uuid, b"mask", 2, TOTAL, {})
        size = log.size()
        assert windows.publish_mask(window.uuid, b"mask", 2, TOTAL, {}) == first
        assert log.size() == size
        with refused("not-closed", 409):
            windows.publish_mask(window.uuid, b"another", 2, TOTAL, {})

    @pytest.mark.parametrize(("masked", "total"), [(0, TOTAL), (TOTAL, TOTAL), (2, TOTAL + 1)])
    def test_the_mask_fits_the_model(self, story: Story, masked: int, total: int) -> None:
        window = story.closed_window()
        with refused("wrong-mask", 422):
            windows.publish_mask(window.uuid, b"mask", masked, total, {})

    def test_one_at_a_time_per_model(self, story: Story) -> None:
        story.masked_window()
        window = windows.open_window(story.model, None, [story.approved_request().uuid])
        with refused("window-pending", 409):
            windows.close_window(window.uuid)

    def test_a_commitment_after_the_mask_gets_no_order(self, story: Story) -> None:
        early = story.party("early")
        window = story.masked_window()
        story.party("late")
        assert [order.client_model.client for order in window.orders.all()] == [early.row]

    def test_what_the_mask_job_gets(self, story: Story) -> None:
        case = windows.mask_case(story.closed_window().uuid)
        assert case.config == {"budget": 0.1, "dataset": "digits", "forget": {"class": 8}}
        assert case.model_path.read_bytes() == b"model"
        assert case.targets == (("a", (3, 4)), ("b", (8,)))
        assert case.total == TOTAL


class TestCertificates:
    def test_not_before_the_mask_nor_while_orders_are_pending(self, story: Story) -> None:
        story.party()
        window = story.closed_window()
        with refused("no-mask", 409):
            certify(window.uuid)
        with refused("no-mask", 409):
            window_bundle(window.uuid)
        windows.publish_mask(window.uuid, b"mask", 2, TOTAL, {})
        with refused("order-pending", 409):
            certify(window.uuid)

    def test_silence_is_named_once_it_is_late(self, story: Story) -> None:
        story.party()
        window = story.masked_window()
        models.Order.objects.update(due_at=timezone.now() - timedelta(days=1))
        certificate = certify(window.uuid)[0]
        assert not certificate.complete
        said = log.statement(certificate.entry).predicate
        assert isinstance(said, predicates.Certificate)
        assert [(o.status, o.verdict) for o in said.outcomes] == [("unanswered", None)]
        assert models.DeletionRequest.objects.get().state == "in_progress"

    def test_nobody_is_blamed_for_our_delay(self, story: Story) -> None:
        party = story.party()
        window = story.masked_window()
        story.proved(party, window.orders.get())
        models.Order.objects.update(due_at=timezone.now() - timedelta(days=1))
        with refused("order-pending", 409):
            certify(window.uuid)

    def test_a_rejection_is_named(self, story: Story) -> None:
        party = story.party()
        window = story.masked_window()
        proof = story.proved(party, window.orders.get())
        record = proofs.record_verdict(proof.uuid, verdict(accepted=False))
        said = log.statement(certify(window.uuid)[0].entry).predicate
        assert isinstance(said, predicates.Certificate)
        assert said.outcomes[0].status == "rejected"
        assert said.outcomes[0].verdict == log.entry_ref(record.entry)


def test_the_next_window_needs_a_new_commitment(story: Story) -> None:
    party = story.party()
    window = story.masked_window()
    proofs.record_verdict(story.proved(party, window.orders.get()).uuid, verdict())
    story.commit(party)
    certify(window.uuid)
    assert story.masked_window().orders.count() == 1
