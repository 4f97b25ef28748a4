"""Looking at who asked: only with a reason, only by those who may, and never without a trace in the log."""

from __future__ import annotations

from typing import Any

import pgtrigger
import pytest
from django.contrib.auth.models import Group, User
from django.test import Client as Browser
from django.urls import reverse

from ledger import log, models
from ledger.access import roles
from ledger.fsck.errors import FsckError
from ledger.fsck.run import rebuild
from ledger.statements import predicates as said
from ledger.statements.dsse import Envelope
from ledger.statements.errors import RuleError
from ledger.statements.request_rules import Requests
from ledger.workflow import request_steps, requests
from ledger.workflow.actors import SYSTEM, Actor
from ledger.workflow.erase import erase
from ledger.workflow.errors import WorkflowError
from ledger.workflow.subject_access import reveal_subject
from tests.ledger.statements.samples import REF, SHA, TIME, UUID
from tests.ledger.story import FORGET, Story

ANN = Actor("officer", "7", "ann.officer")
SUBJECT = "patient 12, ward 3"


@pytest.fixture
def asked(story: Story) -> models.DeletionRequest:
    return requests.file_request("gdpr", SUBJECT, FORGET)


def test_a_look_is_logged_and_names_nobody(asked: models.DeletionRequest) -> None:
    size = log.size()
    assert reveal_subject(asked.uuid, "contact", actor=ANN) == SUBJECT
    assert reveal_subject(asked.uuid, "dispute", actor=ANN) == SUBJECT
    assert log.size() == size + 2
    first, second = models.LogEntry.objects.filter(index__gte=size).order_by("index")
    assert first.predicate_type.endswith(":subject-access:v1")
    for entry in (first, second):
        text = Envelope.parse(bytes(entry.envelope)).payload.decode()
        assert ANN.name not in text
        assert "patient" not in text
    one, two = models.SubjectAccess.objects.order_by("entry")
    assert one.viewer != two.viewer  # nobody can tell from the log that it was the same officer
    rebuild(lambda *_: None)


def test_no_reason_no_look(asked: models.DeletionRequest) -> None:
    size = log.size()
    for reason in ("", "curious", "litigation"):
        with pytest.raises(WorkflowError):
            reveal_subject(asked.uuid, reason, actor=ANN)
    assert (log.size(), models.SubjectAccess.objects.count()) == (size, 0)


def test_nothing_is_left_to_look_at(asked: models.DeletionRequest) -> None:
    request_steps.revoke(asked.uuid, "subject-withdrew")
    erase(asked.uuid, "subject-asked", actor=SYSTEM)
    with pytest.raises(WorkflowError, match="nobody can tell any more"):
        reveal_subject(asked.uuid, "contact", actor=ANN)


@pytest.mark.parametrize(
    ("attack", "words"),
    [
        (lambda rows: rows.update(viewer_name="bob"), "the viewer was changed"),
        (lambda rows: rows.update(viewer_id="officer:8"), "the viewer was changed"),
        (lambda rows: rows.update(reason="audit"), "reason"),
        (lambda rows: rows.delete(), "subject access"),
    ],
)
def test_a_look_cannot_be_taken_back(asked: models.DeletionRequest, attack: Any, words: str) -> None:
    """The attacks: the row that says who looked is put on somebody else, or taken away. fsck finds each."""
    reveal_subject(asked.uuid, "contact", actor=ANN)
    with pgtrigger.ignore("ledger.SubjectAccess:append_only"):
        attack(models.SubjectAccess.objects.all())
    with pytest.raises(FsckError, match=words):
        rebuild(lambda *_: None)


def test_the_log_refuses_what_cannot_be() -> None:
    story = Requests()
    filed = said.DeletionRequest(request=UUID, commitment=SHA, regulation="gdpr", received_at=TIME, due_at=TIME)
    story.add(filed)
    look = said.SubjectAccess(request=UUID, filed=REF, number=1, viewer=SHA, reason="contact", at=TIME)
    story.check(look, 8)
    story.add(look)
    with pytest.raises(RuleError, match="number"):
        story.check(look, 9)  # a second one with the number of the first
    story.add(said.Tombstone(request=UUID, filed=REF, reason="subject-asked", erased_at=TIME))
    with pytest.raises(RuleError, match="was erased before"):
        story.check(look.model_copy(update={"number": 2}), 10)


def test_on_the_pages(asked: models.DeletionRequest) -> None:
    """An officer is asked for a reason, and sees it once; an auditor sees who looked, and not who asked."""
    page = reverse("admin:ledger_deletionrequest_changelist")
    sent = {"action": "show_subject", "_selected_action": [str(asked.pk)]}
    answers = {}
    for role in (roles.AUDITOR, roles.APPROVER, roles.OPERATOR, roles.OFFICER):
        user = User.objects.create(username=role, is_staff=True)
        user.groups.set(Group.objects.filter(name=role))
        browser = Browser()
        browser.force_login(user)
        assert SUBJECT not in browser.post(page, sent).content.decode()
        answers[role] = browser.post(page, {**sent, "confirmed": "yes", "reason": "contact"}, follow=True)
    shown = {role: SUBJECT in answer.content.decode() for role, answer in answers.items()}
    assert shown == {roles.AUDITOR: False, roles.APPROVER: False, roles.OPERATOR: False, roles.OFFICER: True}
    assert "no-store" in answers[roles.OFFICER].headers["Cache-Control"]
    assert not any(SUBJECT in cookie.value for cookie in answers[roles.OFFICER].cookies.values())
    assert models.SubjectAccess.objects.get().viewer_name == "officer"
    browser.force_login(User.objects.get(username=roles.AUDITOR))
    listed = browser.get(reverse("admin:ledger_subjectaccess_changelist")).content.decode()
    assert "officer" in listed
    assert SUBJECT not in listed
