"""The console's own pages: what needs somebody today, proofs of inclusion, exports, and what changes meanwhile."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client as Browser
from django.urls import reverse
from django.utils import timezone

from ledger import models
from ledger.access import roles
from ledger.fsck.run import check_and_record
from ledger.workflow import proofs
from tests.ledger.story import Story, verdict


def somebody(role: str) -> Browser:
    """The browser of an account with one role."""
    account = User.objects.create(username=role, is_staff=True)
    account.groups.add(Group.objects.get(name=role))
    browser = Browser()
    browser.force_login(account)
    return browser


@pytest.fixture
def officer(db: None) -> Browser:
    return somebody(roles.OFFICER)


@pytest.fixture
def under_way(story: Story) -> models.Window:
    """Two clients; one was rejected, the other is silent beyond its due date. One more request is late."""
    cheater, _silent = story.party("cheater"), story.party("quiet")
    window = story.masked_window()
    order = window.orders.get(client_model__client=cheater.row)
    proofs.record_verdict(story.proved(cheater, order).uuid, verdict(accepted=False))
    window.orders.exclude(pk=order.pk).update(due_at=timezone.now() - timedelta(days=2, hours=1))
    late = story.approved_request("another")
    models.DeletionRequest.objects.filter(pk=late.pk).update(due_at=timezone.now() - timedelta(days=3, hours=1))
    return window


def test_the_first_page_says_what_needs_somebody(
    under_way: models.Window, officer: Browser, django_assert_max_num_queries: Any
) -> None:
    check_and_record()
    with django_assert_max_num_queries(25):
        page = officer.get("/admin/")
    text = " ".join(page.content.decode().split())
    assert "<b>1</b> overdue" in text
    assert "3 days late" in text
    assert "cheater" in text
    assert models.VerdictRecord.objects.get().failures[0]["reason"][:40] in text
    assert "2 days late" in text  # the silent client
    assert "1 no answer yet" in text
    assert "none configured: nobody outside vouches for this log" in text
    assert "ALARM: the deletion request" in text  # whose due date this test has moved behind the log's back
    models.FsckRun.objects.update(problem="")
    assert "good, " in officer.get("/admin/").content.decode()
    late = officer.get(page.context["requests"]["late_list"])
    assert late.context["cl"].result_count == 1


def test_an_empty_first_page_says_what_to_do(officer: Browser) -> None:
    text = officer.get("/admin/").content.decode()
    assert "No request is waiting." in text
    assert reverse("admin:ledger_deletionrequest_add") in text
    assert "open a window for them" in text


def test_parts_that_change_are_sent_when_they_change(under_way: models.Window, officer: Browser) -> None:
    address = reverse("console:progress")
    first = officer.get(address)
    assert "1 rejected" in first.content.decode()
    again = officer.get(address, headers={"If-None-Match": first["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    under_way.orders.filter(state="rejected").update(state="met")
    changed = officer.get(address, headers={"If-None-Match": first["ETag"]})
    assert changed.status_code == 200
    assert "1 met" in changed.content.decode()
    assert Browser().get(address).status_code == 302  # to the login
