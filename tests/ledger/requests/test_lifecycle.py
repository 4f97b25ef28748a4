"""States and what may follow them, identity, four eyes, holds, revocation, expiry: use cases and attacks."""

from __future__ import annotations

from datetime import timedelta
from itertools import product
from typing import Any

import pytest
from django.conf import LazySettings
from django.contrib.auth.models import User
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from ledger import log, models, vault
from ledger.fsck.errors import FsckError
from ledger.statements import lifecycle, predicates
from ledger.statements.dsse import Envelope
from ledger.statements.errors import RuleError
from ledger.statements.predicates.base import LogRef
from ledger.statements.rules import check
from ledger.statements.story import Story as Rules
from ledger.workflow import jobs, request_steps, requests, windows
from ledger.workflow.actors import SYSTEM, officer
from ledger.workflow.erase import erase
from ledger.workflow.errors import WorkflowError
from ledger.workflow.terms import change_terms
from tests.ledger.requests.parts import (
    ANN,
    BOB,
    EVE,
    approved,
    days_later,
    filed,
    holds,
    kinds,
    refused,
    verified,
)
from tests.ledger.story import Story, nobody

pytestmark = pytest.mark.django_db
STATES = models.DeletionRequest.State.values

MAY_FOLLOW = {
    ("open", "in_progress"), ("open", "denied"), ("open", "expired"), ("open", "revoked"),
    ("in_progress", "fulfilled"), ("in_progress", "revoked"),
}  # fmt: skip


@pytest.mark.parametrize(("before", "after"), list(product(STATES, STATES)))
def test_every_pair_of_states(before: str, after: str) -> None:
    request = models.DeletionRequest(state=before)
    if (before, after) in MAY_FOLLOW:
        requests.move(request, after)
        assert request.state == after
    else:
        with pytest.raises(WorkflowError, match=f"is {before} and cannot become {after}"):
            requests.move(request, after)
        assert request.state == before


def test_the_table_is_about_all_states() -> None:
    assert set(lifecycle.TRANSITIONS) == set(STATES)
    assert {"fulfilled", "denied", "expired", "revoked"} == lifecycle.OVER


def in_state(state: str, story: Story) -> models.DeletionRequest:
    """A request that came there by use cases."""
    if state == "open":
        return verified(subject="somebody")
    if state == "denied":
        return requests.decide_request(filed().uuid, "denied", "no-match")
    if state == "revoked":
        return request_steps.revoke(filed().uuid)
    if state == "expired":
        request = filed()
        with days_later(31):
            assert request_steps.expire_unverified() == 1
    else:
        request = approved()
        if state == "fulfilled":
            window = windows.close_window(windows.open_window(story.model, None, [request.uuid]).uuid)
            windows.publish_mask(window.uuid, b"mask", 2, 20, {"seed": 0})
            from ledger.workflow.certificates import certify

            certify(window.uuid)
    request.refresh_from_db()
    return request


STEPS: dict[str, Any] = {
    "approve": (lambda uuid: requests.decide_request(uuid, "approved"), {"open"}),
    "deny": (lambda uuid: requests.decide_request(uuid, "denied", "no-match"), {"open"}),
    "identify": (lambda uuid: request_steps.record_identity(uuid, "phone", "failed"), {"open"}),
    "acknowledge": (request_steps.acknowledge, {"open", "in_progress"}),
    "extend": (lambda uuid: request_steps.extend(uuid, "complexity", timezone.now()), {"open", "in_progress"}),
    "revoke": (request_steps.revoke, {"open", "in_progress"}),
    "hold": (lambda uuid: request_steps.set_hold(uuid, "litigation"), set(STATES)),
    "erase": (lambda uuid: erase(uuid, "subject-asked"), lifecycle.OVER),
}


@pytest.mark.parametrize("state", STATES)
def test_every_step_in_every_state(story: Story, state: str) -> None:
    """Allowed where the table says so, refused and without a trace everywhere else; the log agrees with either."""
    request = in_state(state, story)
    assert request.state == state
    for name, (step, states) in STEPS.items():
        before = log.size(), models.Event.objects.count()
        savepoint = transaction.savepoint()
        if state in states:
            step(request.uuid)
            assert log.size() == before[0] + 1, name
            holds()
        else:
            with pytest.raises(WorkflowError) as caught:
                step(request.uuid)
            assert caught.value.status == 409, name
            assert (log.size(), models.Event.objects.count()) == before, name
        transaction.savepoint_rollback(savepoint)


def test_unknown_requests() -> None:
    for step, _ in STEPS.values():
        with refused("not-found", 404):
            step(nobody())
    with refused("not-found", 404):
        requests.decide_request("no uuid", "denied", "no-match")


class TestDecisions:
    def test_a_denial_needs_a_reason_of_the_register(self) -> None:
        request = filed()
        for reason in ("", "r" * 61, "Erika Mustermann called", "No-Match", "hold-ended"):
            with refused("bad-reason", 422):
                requests.decide_request(request.uuid, "denied", reason)
        with refused("bad-decision", 422):
            requests.decide_request(request.uuid, "maybe")  # type: ignore[arg-type]
        denied = requests.decide_request(request.uuid, "denied", "no-match", actor=ANN)
        assert (denied.state, denied.decision_reason) == ("denied", "no-match")
        assert kinds(denied) == ["request.filed", "request.denied"]
        with refused("already-decided", 409):
            requests.decide_request(request.uuid, "approved")

    def test_an_approval_may_do_without(self) -> None:
        request = verified()
        with refused("bad-reason", 422):
            requests.decide_request(request.uuid, "approved", "no-match")
        assert requests.decide_request(request.uuid, "approved").state == "in_progress"


class TestIdentity:
    def test_not_approved_before(self) -> None:
        request = filed()
        with refused("identity-not-verified", 409):
            requests.decide_request(request.uuid, "approved")
        request_steps.record_identity(request.uuid, "phone", "failed")
        with refused("identity-not-verified", 409):
            requests.decide_request(request.uuid, "approved")
        request_steps.record_identity(request.uuid, "id-document", "verified", "passport of Ada, X123", actor=ANN)
        assert requests.decide_request(request.uuid, "approved").state == "in_progress"
        checks = models.IdentityCheck.objects.values_list("method", "result")
        assert list(checks) == [("phone", "failed"), ("id-document", "verified")]
        holds()

    def test_the_last_check_counts(self) -> None:
        request = verified()
        request_steps.record_identity(request.uuid, "in-person", "failed")
        with refused("identity-not-verified", 409):
            requests.decide_request(request.uuid, "approved")

    def test_the_same_check_twice_is_two_statements(self) -> None:
        request = filed()
        for _ in range(2):
            request_steps.record_identity(request.uuid, "phone", "failed")
        assert models.IdentityCheck.objects.count() == 2
        holds()

    def test_unless_the_policy_says_otherwise(self) -> None:
        change_terms("gdpr", {"identity_required": False})
        assert requests.decide_request(filed().uuid, "approved", "no-check-needed").state == "in_progress"

    def test_a_policy_loosened_afterwards_does_not_count(self) -> None:
        request = filed()
        change_terms("gdpr", {"identity_required": False})
        with refused("identity-not-verified", 409):
            requests.decide_request(request.uuid, "approved")

    def test_details_are_sealed_and_not_logged(self) -> None:
        request = filed()
        request_steps.record_identity(request.uuid, "id-document", "verified", "passport of Ada, X123")
        detail = models.IdentityCheck.objects.get().detail
        assert detail is not None
        assert vault.unseal(detail) == {"detail": "passport of Ada, X123"}
        assert b"X123" not in bytes(detail.ciphertext)
        for entry in models.LogEntry.objects.all():
            assert b"X123" not in Envelope.parse(bytes(entry.envelope)).payload
        assert "X123" not in str(list(models.Event.objects.values()))

    @pytest.mark.parametrize(
        ("arguments", "code"),
        [
            (("face", "verified"), "bad-method"),
            (("phone", "perhaps"), "bad-result"),
            (("phone", "verified", "x" * 4001), "bad-detail"),
        ],
    )
    def test_bad_values(self, arguments: tuple, code: str) -> None:
        request = filed()
        with refused(code, 422):
            request_steps.record_identity(request.uuid, *arguments)


class TestFourEyes:
    @pytest.fixture(autouse=True)
    def _policy(self) -> None:
        change_terms("gdpr", {"four_eyes": True})

    def test_two_officers(self) -> None:
        request = verified()
        first = requests.decide_request(request.uuid, "approved", actor=ANN)
        assert (first.state, first.decision_entry) == ("open", None)
        second = requests.decide_request(request.uuid, "approved", actor=BOB)
        assert second.state == "in_progress"
        assert kinds(request)[-2:] == ["request.approval-given", "request.approved"]
        assert list(second.approvals.values_list("name", flat=True)) == ["ann", "bob"]
        holds()

    def test_not_one_twice(self) -> None:
        request = verified()
        requests.decide_request(request.uuid, "approved", actor=ANN)
        with refused("already-approved", 409):
            requests.decide_request(request.uuid, "approved", actor=ANN)

    def test_not_one_under_two_names(self) -> None:
        """An officer who changes the account's name is still the same officer."""
        user, request = User.objects.create(username="mallory"), verified()
        requests.decide_request(request.uuid, "approved", actor=officer(user))
        user.username = "trent"
        user.save()
        with refused("already-approved", 409):
            requests.decide_request(request.uuid, "approved", actor=officer(user))

    def test_no_program(self) -> None:
        request = verified()
        with refused("needs-officers", 403):
            requests.decide_request(request.uuid, "approved", actor=SYSTEM)

    def test_a_loosened_policy_does_not_help(self) -> None:
        request = verified()
        change_terms("gdpr", {"four_eyes": False}, actor=ANN)
        assert requests.decide_request(request.uuid, "approved", actor=ANN).state == "open"
        with refused("already-approved", 409):
            requests.decide_request(request.uuid, "approved", actor=ANN)

    def test_a_policy_that_is_tightened_counts_at_once(self) -> None:
        request = verified("ccpa")
        change_terms("ccpa", {"four_eyes": True})
        assert requests.decide_request(request.uuid, "approved", actor=ANN).state == "open"

    def test_for_all_regulations_by_the_setting(self, settings: LazySettings) -> None:
        settings.LEDGER_FOUR_EYES = True
        request = verified("lgpd")
        assert requests.decide_request(request.uuid, "approved", actor=ANN).state == "open"

    def test_an_approval_cannot_be_handed_to_another(self) -> None:
        request = verified()
        requests.decide_request(request.uuid, "approved", actor=ANN)
        with pytest.raises(DatabaseError, match="append_only"), transaction.atomic():
            models.Approval.objects.update(officer="officer:2")

    def test_one_officer_is_enough_to_deny(self) -> None:
        request = verified()
        requests.decide_request(request.uuid, "approved", actor=ANN)
        assert requests.decide_request(request.uuid, "denied", "no-match", actor=BOB).state == "denied"

    def test_no_officer_is_named_in_the_log(self) -> None:
        request = verified()
        for actor in (ANN, BOB):
            requests.decide_request(request.uuid, "approved", actor=actor)
        for entry in models.LogEntry.objects.all():
            payload = Envelope.parse(bytes(entry.envelope)).payload
            assert not any(word in payload for word in (b'"ann"', b'"bob"', b"officer:"))


class TestWhoFiled:
    def test_does_not_approve_where_the_policy_says_so(self) -> None:
        change_terms("gdpr", {"exclude_filer": True})
        request = verified(actor=ANN)
        with refused("own-request", 403):
            requests.decide_request(request.uuid, "approved", actor=ANN)
        assert requests.decide_request(request.uuid, "approved", actor=BOB).state == "in_progress"

    def test_nor_with_four_eyes(self) -> None:
        change_terms("gdpr", {"exclude_filer": True, "four_eyes": True})
        request = verified(actor=ANN)
        requests.decide_request(request.uuid, "approved", actor=BOB)
        with refused("own-request", 403):
            requests.decide_request(request.uuid, "approved", actor=ANN)
        assert requests.decide_request(request.uuid, "approved", actor=EVE).state == "in_progress"


class TestAcknowledgement:
    def test_once(self) -> None:
        request = request_steps.acknowledge(filed("ccpa").uuid, actor=ANN)
        assert kinds(request)[-1] == "request.acknowledged"
        assert models.Event.objects.get(kind="request.acknowledged").data == {"late": False}
        with refused("already-acknowledged", 409):
            request_steps.acknowledge(request.uuid)
        holds()

    def test_late_is_said(self) -> None:
        request = filed("ccpa")
        with days_later(20):
            request_steps.acknowledge(request.uuid)
        assert models.Event.objects.get(kind="request.acknowledged").data == {"late": True}


class TestHolds:
    def test_a_held_request_waits(self, story: Story) -> None:
        request = request_steps.set_hold(verified().uuid, "litigation", actor=ANN)
        with refused("held", 409):
            requests.decide_request(request.uuid, "approved")
        with refused("already-held", 409):
            request_steps.set_hold(request.uuid, "litigation")
        request_steps.lift_hold(request.uuid, "hold-ended", actor=BOB)
        with refused("not-held", 409):
            request_steps.lift_hold(request.uuid, "hold-ended")
        requests.decide_request(request.uuid, "approved")
        request_steps.set_hold(request.uuid, "authority-order")
        with refused("held", 409):
            windows.open_window(story.model, None, [request.uuid])
        request_steps.lift_hold(request.uuid, "released-by-authority")
        window = windows.open_window(story.model, None, [request.uuid])
        request_steps.set_hold(request.uuid, "authority-order")
        with refused("unresolved-requests", 409):
            windows.close_window(window.uuid)
        holds()
        found = models.LegalHold.objects.values_list("reason", "lift_reason")
        assert list(found) == [
            ("litigation", "hold-ended"), ("authority-order", "released-by-authority"), ("authority-order", ""),
        ]  # fmt: skip

    def test_its_record_is_not_erased(self) -> None:
        request = requests.decide_request(filed().uuid, "denied", "no-match")
        request_steps.set_hold(request.uuid, "retention-duty")
        with refused("held", 409):
            erase(request.uuid, "subject-asked")
        assert vault.unseal(request.subject)["subject"] == "Ada"
        request_steps.lift_hold(request.uuid, "hold-ended")
        erase(request.uuid, "subject-asked")
        with refused("erased", 409):
            request_steps.set_hold(request.uuid, "litigation")
        holds()

    def test_reasons_are_codes(self) -> None:
        request = filed()
        with refused("bad-reason", 422):
            request_steps.set_hold(request.uuid, "Ada sued us")
        request_steps.set_hold(request.uuid, "litigation")
        with refused("bad-reason", 422):
            request_steps.lift_hold(request.uuid, "litigation")

    def test_a_hold_taken_away_in_the_database_is_found(self) -> None:
        request = request_steps.set_hold(filed().uuid, "litigation")
        with connection.cursor() as cursor:
            cursor.execute("UPDATE ledger_deletionrequest SET held = false")
        with pytest.raises(FsckError, match=f"{request.uuid} has held False, the log makes it True"):
            holds()


class TestRevocation:
    def test_until_its_window_closes(self, story: Story) -> None:
        one, two = approved(subject="one"), approved(subject="two")
        window = windows.open_window(story.model, None, [one.uuid, two.uuid])
        gone = request_steps.revoke(one.uuid, actor=ANN)
        assert (gone.state, gone.closure_reason) == ("revoked", "subject-withdrew")
        assert not gone.windows.exists()
        windows.close_window(window.uuid)
        with refused("window-closed", 409):
            request_steps.revoke(two.uuid)
        said = log.statement(models.Window.objects.get().closed_entry).predicate  # type: ignore[arg-type]
        assert isinstance(said, predicates.WindowClose)
        two.refresh_from_db()
        assert [ref.index for ref in said.decisions] == [two.decision_entry_id]
        holds()

    def test_what_is_revoked_is_in_no_window_again(self, story: Story) -> None:
        request = request_steps.revoke(approved().uuid, "filed-by-mistake")
        with refused("not-available", 409):
            windows.open_window(story.model, None, [request.uuid])


class TestExpiry:
    def test_the_sweep_ends_what_nobody_was_identified_for(self) -> None:
        late, good, held = (filed(subject=name) for name in ("late", "good", "held"))
        request_steps.record_identity(good.uuid, "phone", "verified")
        request_steps.set_hold(held.uuid, "litigation")
        with days_later(29):
            assert request_steps.expire_unverified() == 0
        with days_later(31):
            jobs.sweep()
            assert request_steps.expire_unverified() == 0
        states = {row.subject_key: row.state for row in models.DeletionRequest.objects.all()}
        assert states == {late.subject_key: "expired", good.subject_key: "open", held.subject_key: "open"}
        assert kinds(late) == ["request.filed", "request.expired"]
        holds()

    def test_the_time_is_configured(self) -> None:
        change_terms("gdpr", {"identity_days": 5})
        filed(received_at=timezone.now() - timedelta(days=200))  # counted from the filing
        change_terms("gdpr", {"identity_days": 0})
        filed(subject="for ever")
        assert request_steps.expire_unverified() == 0
        with days_later(4):
            assert request_steps.expire_unverified() == 0
        with days_later(6):
            assert request_steps.expire_unverified() == 1
        with days_later(200):
            assert request_steps.expire_unverified() == 0


UUID = "01234567-89ab-cdef-0123-456789abcdef"
REF = LogRef(index=0, leaf_hash="00" * 32)
NOW = timezone.now().replace(microsecond=0)
FILED = predicates.DeletionRequest(
    request=UUID, commitment="ab" * 32, regulation="lgpd", received_at=NOW, due_at=NOW + timedelta(days=15)
)


def decision(word: str) -> predicates.RequestDecision:
    return predicates.RequestDecision(request=UUID, filed=REF, decision=word, decided_at=NOW)  # type: ignore[arg-type]


def closure(state: str) -> predicates.RequestClosure:
    return predicates.RequestClosure(request=UUID, filed=REF, state=state, reason="x", closed_at=NOW)  # type: ignore[arg-type]


def hold(number: int, action: str) -> predicates.RequestHold:
    return predicates.RequestHold(request=UUID, filed=REF, number=number, action=action, reason="x", at=NOW)  # type: ignore[arg-type]


def identity(number: int) -> predicates.IdentityCheck:
    return predicates.IdentityCheck(
        request=UUID, filed=REF, number=number, method="phone", result="failed", checked_at=NOW
    )


RECEIPT = predicates.RequestAcknowledgement(request=UUID, filed=REF, acknowledged_at=NOW)
TOMBSTONE = predicates.Tombstone(request=UUID, filed=REF, reason="subject-asked", erased_at=NOW)
OTHER = "11111111-89ab-cdef-0123-456789abcdef"


@pytest.mark.parametrize(
    ("before", "last", "words"),
    [
        ([decision("denied")], closure("revoked"), "makes request .* revoked, but it is denied"),
        ([closure("expired")], decision("approved"), "in_progress, but it is expired"),
        ([decision("approved")], closure("expired"), "expired, but it is in_progress"),
        ([hold(1, "set")], decision("approved"), "under a legal hold"),
        ([hold(1, "set")], closure("expired"), "under a legal hold"),
        ([closure("revoked"), hold(1, "set")], TOMBSTONE, "under a legal hold"),
        ([hold(1, "set")], hold(2, "set"), "is held already"),
        ([], hold(1, "lifted"), "is not held"),
        ([hold(1, "set")], hold(3, "lifted"), "has the number 3, expected 2"),
        ([identity(1)], identity(1), "has the number 1, expected 2"),
        ([closure("revoked")], RECEIPT, "is revoked and over"),
        ([closure("revoked")], identity(1), "is revoked and over"),
        ([RECEIPT], RECEIPT, "the second request-acknowledgement"),
        ([closure("revoked")], closure("revoked"), "the second request-closure"),
        ([], RECEIPT.model_copy(update={"request": OTHER}), "about another request than it refers to"),
    ],
)
def test_what_the_log_does_not_take(before: list, last: Any, words: str) -> None:
    """A provider that logs steps out of order: any reader sees it."""
    story = Rules()
    for index, said in enumerate([FILED, *before]):
        check(story, index, said)
        story.add(index, bytes(32), said)
    with pytest.raises(RuleError, match=words):
        check(story, len(before) + 1, last)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ([closure("revoked")], "which is revoked"),
        ([hold(1, "set")], "under a legal hold"),
    ],
)
def test_no_window_closes_with_such_a_request(more: list, words: str) -> None:
    model = predicates.ModelRelease(
        name="m", file_sha256="ab" * 32, architecture={}, targets=[{"name": "a", "shape": [1]}],  # type: ignore[list-item]
    )  # fmt: skip
    story = Rules()
    for index, said in enumerate([FILED, model, decision("approved"), *more]):
        story.add(index, bytes(32), said)
    refs = [LogRef(index=index, leaf_hash="00" * 32) for index in (1, 2)]
    last = predicates.WindowClose(window=UUID, model=refs[0], decisions=[refs[1]], closed_at=NOW)
    with pytest.raises(RuleError, match=words):
        check(story, 4, last)
    with pytest.raises(RuleError, match="names a request twice"):
        check(story, 4, last.model_copy(update={"decisions": [refs[1], refs[1]]}))
