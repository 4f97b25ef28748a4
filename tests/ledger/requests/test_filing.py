"""Filing: what is refused, who asks twice, whose hash nobody can guess, and what a request carries."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from ledger import log, models, pseudonyms, vault
from ledger.workflow import request_steps, requests
from ledger.workflow.erase import rotate_master_key
from ledger.workflow.filing import Filing, file_many
from tests.ledger.requests.parts import ANN, BOB, approved, filed, holds, kinds, pets, refused
from tests.ledger.story import FORGET

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"regulation": "hipaa"}, "bad-regulation"),
        ({"subject": ""}, "bad-subject"),
        ({"subject": "  "}, "bad-subject"),
        ({"subject": "x" * 1001}, "bad-subject"),
        ({"subject": "\ud800"}, "bad-subject"),
        ({"received_at": datetime(2026, 1, 1)}, "bad-time"),  # noqa: DTZ001
        ({"received_at": datetime(2999, 1, 1, tzinfo=UTC)}, "bad-time"),
        ({"received_at": datetime(1999, 1, 1, tzinfo=UTC)}, "bad-time"),
        ({"status_callback_urls": ["http://example.org/"]}, "bad-callback"),
        ({"status_callback_urls": ["https://"]}, "bad-callback"),
        ({"status_callback_urls": ["https://u:p@example.org/"]}, "bad-callback"),
        ({"status_callback_urls": ["https://example.org/#x"]}, "bad-callback"),
        ({"status_callback_urls": ["https://[::1/"]}, "bad-callback"),
        ({"status_callback_urls": ["https://example.org/\n"]}, "bad-callback"),
        ({"status_callback_urls": ["https://example.org/" + "x" * 2000]}, "bad-callback"),
        ({"status_callback_urls": ["https://example.org/"] * 6}, "bad-callback"),
        ({"allow_duplicate": "because"}, "bad-reason"),
    ],
)
def test_bad_values(changes: dict, code: str) -> None:
    with refused(code, 422):
        filed(**changes)
    assert (models.SubjectRecord.objects.count(), models.VaultKey.objects.count()) == (0, 0)


def test_it_is_counted_at_once() -> None:
    pets()
    assert filed(forget={"dataset": "pets", "query": {"site": "north"}}).matches == 3
    assert filed().matches is None  # no index


def test_what_a_request_carries() -> None:
    number = uuid.uuid4()
    request = filed(subject_request_id=number, status_callback_urls=["https://controller.example/hook"], actor=ANN)
    assert (request.subject_request_id, request.filed_by) == (number, "officer:1")
    assert request.status_callback_urls == ["https://controller.example/hook"]
    event = models.Event.objects.get()
    assert (event.kind, event.actor_name, event.entry) == ("request.filed", "ann", request.filed_entry)
    holds()


class TestNumbers:
    def test_the_same_again_is_the_same_request(self) -> None:
        number = uuid.uuid4()
        first = filed(subject_request_id=number)
        size = log.size()
        assert filed(subject_request_id=number, received_at=timezone.now() - timedelta(days=1)) == first
        assert log.size() == size

    def test_for_another_request_it_is_refused(self) -> None:
        number = uuid.uuid4()
        filed(subject_request_id=number)
        with refused("number-taken", 409):
            filed(subject="Bob", subject_request_id=number)
        with refused("number-taken", 409):
            filed("ccpa", subject_request_id=number)


class TestDuplicates:
    def test_are_refused_and_name_the_first(self) -> None:
        first = filed()
        for spelling in ("Ada", " ada ", "ADA", "Ａda"):
            with refused("duplicate-request", 409):
                filed(subject=spelling)
        (outcome,) = file_many([Filing("gdpr", "Ada", FORGET)], actor=ANN)
        assert outcome.refusal is not None
        assert str(first.uuid) in outcome.refusal.sentence

    def test_with_a_reason_they_are_linked(self) -> None:
        first = filed()
        second = filed("ccpa", allow_duplicate="other-regulation")
        assert (second.duplicate_of, second.duplicate_reason) == (first, "other-regulation")
        assert list(first.duplicates.all()) == [second]

    def test_a_reason_without_a_duplicate_says_nothing(self) -> None:
        assert filed(allow_duplicate="asked-again").duplicate_reason == ""

    def test_about_other_data_or_of_others_are_none(self) -> None:
        filed()
        filed(subject="Bob")
        filed(forget=FORGET | {"class": 1})
        assert models.DeletionRequest.objects.count() == 3

    def test_samples_that_overlap_a_class(self) -> None:
        pets()
        filed(forget={"dataset": "pets", "class": 0})
        with refused("duplicate-request", 409):
            filed(forget={"dataset": "pets", "samples": ["eve-2", "bob-1"]})
        filed(forget={"dataset": "pets", "samples": ["bob-1"]})

    def test_not_of_what_is_over(self) -> None:
        requests.decide_request(filed().uuid, "denied", "no-match")
        request_steps.revoke(filed().uuid)
        assert filed().state == "open"

    def test_within_one_batch(self) -> None:
        one = Filing("gdpr", "Ada", FORGET, timezone.now() - timedelta(days=2))
        two = Filing("gdpr", "Ada", FORGET, timezone.now() - timedelta(days=1))
        three = Filing("gdpr", "Ada", FORGET, two.received_at, allow_duplicate="asked-again")
        outcomes = file_many([one, two, three], actor=BOB)
        assert [outcome.created for outcome in outcomes] == [True, False, True]
        assert outcomes[1].refusal is not None
        linked = models.DeletionRequest.objects.get(uuid=outcomes[2].request).duplicate_of
        assert linked is not None
        assert linked.uuid == outcomes[0].request
        holds()


class TestPseudonyms:
    def hashes(self) -> list[tuple[str, str]]:
        rows = models.DeletionRequest.objects.order_by("filed_entry")
        return list(rows.values_list("subject_key", "content_key"))

    def test_a_thief_of_the_database_cannot_test_a_guess(self) -> None:
        """Without the vault's master key the hash of the right guess is out of reach; with it, it is found."""
        filed()
        ((stored, _),) = self.hashes()
        thief = models.VaultKey.objects.get().record
        for key in (b"", bytes(32), bytes(thief.wrapped_key)[-32:], bytes(thief.ciphertext)[-32:]):
            assert pseudonyms.Pseudonyms(key, fresh=False).of_subject("Ada") != stored
        assert pseudonyms.current().of_subject("Ada") == stored

    def test_they_are_renewed_with_the_master_key(self) -> None:
        pets()
        first = approved(forget={"dataset": "pets", "query": {"site": "north"}})
        before, old = self.hashes(), models.VaultKey.objects.get().record_id
        rotate_master_key(lambda *_: None)
        assert not set(sum(before, ())) & set(sum(self.hashes(), ()))
        assert models.SubjectRecord.objects.get(pk=old).erased_at is not None
        with refused("duplicate-request", 409):
            filed(forget={"dataset": "pets", "class": 0})
        again = Filing("gdpr", "Ada", {"dataset": "pets", "query": {"site": "north"}}, first.received_at)
        (outcome,) = file_many([again], actor=ANN)
        assert (outcome.created, outcome.request) == (False, first.uuid)


def test_an_interrupted_batch_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before, between and after the writes: all of a batch or none of it."""
    from django.db import transaction

    from ledger.workflow import filing

    for where, name in (
        (filing, "record_many"),
        (filing.log, "write"),
        (models.DeletionRequest.objects, "bulk_create"),
    ):
        with monkeypatch.context() as patch:

            def fail(*_: Any, **__: Any) -> None:
                raise ConnectionError("the database went away")

            patch.setattr(where, name, fail)
            with pytest.raises(ConnectionError), transaction.atomic():
                file_many([Filing("gdpr", str(n), FORGET) for n in range(5)], actor=ANN)
        assert (log.size(), models.DeletionRequest.objects.count(), models.SubjectRecord.objects.count()) == (
            0,
            0,
            0,
        )
    file_many([Filing("gdpr", str(n), FORGET) for n in range(5)], actor=ANN)
    assert models.DeletionRequest.objects.count() == 5
    holds()


def test_who_asked_is_only_in_the_vault() -> None:
    request = filed(subject="Erika Mustermann, born 1964-08-12")
    row = str(models.DeletionRequest.objects.values().get())
    assert "Erika" not in row
    assert vault.unseal(request.subject)["subject"].startswith("Erika")
    assert kinds(request) == ["request.filed"]
