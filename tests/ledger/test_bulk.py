"""Actions on many rows: as a job, row by row, through a worker's death; and what must not happen."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client as Browser
from django.urls import reverse
from django.utils import timezone

from ledger import log, models, queue
from ledger.access import roles
from ledger.workflow import bulk, requests
from ledger.workflow.actors import officer
from prover_worker import tasks
from tests.ledger.story import FORGET, Story, refused
from tests.ledger.test_console import somebody

LIST = "/admin/ledger/deletionrequest/"


@pytest.fixture
def rows(story: Story, monkeypatch: pytest.MonkeyPatch) -> list[models.DeletionRequest]:
    monkeypatch.setattr(bulk, "AT_ONCE", 2)
    return [requests.file_request("gdpr", f"person {k}", FORGET) for k in range(4)]


def choose(browser: Browser, rows: list[Any], action: str, **said: Any) -> Any:
    chosen = {"action": action, "_selected_action": [str(row.pk) for row in rows], "confirmed": "yes"}
    return browser.post(LIST, chosen | said, follow=True)


def work() -> models.BulkRun:
    tasks.bulk(str(models.Job.objects.get(kind=models.Job.Kind.BULK).uuid))
    return models.BulkRun.objects.get()


def test_many_rows_become_a_job_with_an_outcome_for_each(rows: list[Any]) -> None:
    browser = somebody(roles.OFFICER)
    assert "held" in choose(browser, rows[:2], "hold", reason="litigation").content.decode()
    assert not models.BulkRun.objects.exists()  # few rows are done while the officer waits
    size = log.size()
    page = choose(browser, rows, "hold", reason="litigation")
    run = models.BulkRun.objects.get()
    address = reverse("admin:ledger_bulkrun_change", args=[run.pk])
    assert page.redirect_chain[-1][0] == address
    assert "0 done, 0 refused, 4 waiting." in page.content.decode()
    assert log.size() == size
    run = work()
    assert run.finished_at is not None
    assert log.size() == size + 2
    text = browser.get(address, headers={"X-Part": "row"}).content.decode()
    assert "2 done, 2 refused, 0 waiting." in text
    assert f"request {rows[0].pk} is under a legal hold already" in text
    assert text.index(str(rows[0].pk)) < text.index(str(rows[3].pk))  # refused ones first
    assert all(models.DeletionRequest.objects.values_list("held", flat=True))
    assert "Set a legal hold" in browser.get(reverse("admin:ledger_bulkrun_changelist")).content.decode()


def test_a_worker_that_dies_has_done_whole_rows_and_the_next_goes_on(
    rows: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The third row's change is made, and the worker dies before its outcome is written: neither stays."""
    choose(somebody(roles.OFFICER), rows, "hold", reason="litigation")
    job, size = models.Job.objects.get(kind=models.Job.Kind.BULK), log.size()
    assert queue.claim_job(job.uuid) is not None
    save, saved = models.BulkRow.save, []

    def dying(line: models.BulkRow, *args: Any, **kwargs: Any) -> None:
        if len(saved) == 2:
            raise KeyboardInterrupt
        saved.append(line.pk)
        save(line, *args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(models.BulkRow, "save", dying)
        with pytest.raises(KeyboardInterrupt):
            bulk.carry_out(job.target, lambda *_: None)
    assert log.size() == size + 2
    assert models.DeletionRequest.objects.filter(held=True).count() == 2
    models.Job.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    run = work()
    assert log.size() == size + 4
    assert set(run.lines.values_list("outcome", flat=True)) == {"done"}
    models.Job.objects.update(state=models.Job.State.QUEUED)
    work()  # a message that came twice
    assert log.size() == size + 4


def test_who_may_no_longer_do_it_changes_nothing_more(rows: list[Any]) -> None:
    """The attack: start it while the role is there, and hope that the worker does not look again."""
    choose(somebody(roles.OFFICER), rows, "hold", reason="litigation")
    User.objects.get(username=roles.OFFICER).groups.clear()
    run = work()
    assert set(run.lines.values_list("outcome", "sentence")) == {("refused", "the account may no longer do this")}
    assert not models.DeletionRequest.objects.filter(held=True).exists()


def test_what_is_not_started(rows: list[Any]) -> None:
    choose(somebody(roles.AUDITOR), rows, "hold", reason="litigation")
    choose(somebody(roles.OFFICER), rows, "approve", reason="identity-verified")  # an approver's
    assert (
        "Select a valid choice"
        in choose(somebody(roles.APPROVER), rows, "deny", reason="words about Anna").content.decode()
    )
    assert not models.BulkRun.objects.exists()
    actor = officer(User.objects.get(username=roles.OFFICER))
    for targets in ([], [uuid.uuid4() for _ in range(bulk.MOST + 1)]):
        with refused("too-many-rows", 422):
            bulk.start("deletionrequest", "hold", targets, {"reason": "litigation"}, actor=actor)


def test_sentences_speak_the_officers_language_and_limited_accounts_see_their_own(rows: list[Any]) -> None:
    browser = somebody(roles.OFFICER)
    choose(browser, rows[:2], "hold", reason="litigation")
    browser.post(reverse("set_language"), {"language": "de"})
    choose(browser, rows, "hold", reason="litigation")
    run = work()
    line = run.lines.exclude(sentence="")[0]
    assert line.sentence == f"für Antrag {line.target} besteht bereits eine Löschsperre"
    limited = somebody(roles.AUDITOR)
    model = models.GlobalModel.objects.get()
    models.ModelLimit.objects.create(user=User.objects.get(username=roles.AUDITOR), model=model)
    assert limited.get(reverse("admin:ledger_bulkrun_change", args=[run.pk])).status_code == 302
    models.ModelLimit.objects.create(user=User.objects.get(username=roles.OFFICER), model=model)
    assert browser.get(reverse("admin:ledger_bulkrun_change", args=[run.pk])).status_code == 200
