"""Saved views of lists: an officer's own, kept as addresses; and who tries to get at them."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client as Browser
from django.urls import reverse

from ledger.access import roles
from ledger.admin import views
from ledger.models import ModelLimit, SavedView
from tests.ledger.story import Story
from tests.ledger.test_console import somebody

LIST = "/admin/ledger/deletionrequest/"


@pytest.fixture
def officer(db: None) -> Browser:
    return somebody(roles.OFFICER)


def change(browser: Browser, do: str, page: str = "deletionrequest", **said: Any) -> Any:
    return browser.post(reverse("console:views", args=[page]), {"do": do, **said}, follow=True)


def test_a_view_is_saved_opened_first_and_deleted(story: Story, officer: Browser) -> None:
    request = story.approved_request()
    query = "state__exact=open&o=-4&p=1&q="
    said = change(officer, "save", name="  to   decide ", query=query)
    assert said.redirect_chain[-1][0] == f"{LIST}?o=-4&state__exact=open"
    text = said.content.decode()
    assert "The view “to decide” is saved." in text
    assert 'href="?o=-4&amp;state__exact=open" aria-current="page">to decide' in text
    assert officer.get(LIST).context["cl"].result_count == 1  # none opens first
    row = SavedView.objects.get()
    assert "opens first now" in change(officer, "default", view=row.pk).content.decode()
    first = officer.get(LIST)
    assert first.headers["Location"] == f"{LIST}?o=-4&state__exact=open"
    assert officer.get(first.headers["Location"]).context["cl"].result_count == 0
    assert officer.get(f"{LIST}?view=all").context["cl"].result_count == 1
    change(officer, "save", name="to decide", query="", first="yes")  # the same name: replaced
    assert (SavedView.objects.get().query, officer.get(LIST).status_code) == ("", 200)
    change(officer, "save", name="held", query="held__exact=1", first="yes")
    assert officer.get(LIST).headers["Location"] == f"{LIST}?held__exact=1"
    assert list(SavedView.objects.filter(default=True).values_list("name", flat=True)) == ["held"]
    change(officer, "default", view=SavedView.objects.get(name="held").pk)
    assert officer.get(LIST).status_code == 200
    assert (
        "The view is deleted."
        in change(officer, "delete", view=SavedView.objects.get(name="held").pk).content.decode()
    )
    act = {"action": "acknowledge", "_selected_action": str(request.pk)}
    assert "receipt confirmed" in officer.post(f"{LIST}?view=all", act, follow=True).content.decode()


def test_views_are_the_accounts_own(story: Story, officer: Browser) -> None:
    change(officer, "save", name="mine", query="state__exact=open", first="yes")
    row = SavedView.objects.get()
    other = somebody(roles.APPROVER)
    assert other.get(LIST).status_code == 200
    assert "mine" not in other.get(LIST).content.decode()
    for do in ("delete", "default"):
        assert "there is no such view" in change(other, do, view=row.pk).content.decode()
    row.refresh_from_db()
    assert row.default
    assert officer.get(reverse("console:views", args=["deletionrequest"])).status_code == 405
    assert change(officer, "save", page="secondfactor", name="x").status_code == 404
    limited = User.objects.get(username=roles.APPROVER)
    ModelLimit.objects.create(user=limited, model=story.masked_window().model)
    assert change(other, "save", page="blob", name="x").status_code == 403
    assert SavedView.objects.count() == 1


def test_views_that_are_refused(officer: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "1 to 60 characters, got 0" in change(officer, "save", name="  ").content.decode()
    assert "1 to 60 characters, got 61" in change(officer, "save", name="x" * 61).content.decode()
    long = officer.post(
        reverse("console:views", args=["deletionrequest"]), {"do": "save", "name": "x", "query": f"q={'x' * 2001}"}
    )
    assert not SavedView.objects.exists()
    assert long.status_code == 302
    assert "nothing was asked for" in change(officer, "explode").content.decode()
    foreign = change(officer, "save", name="away", query="//evil.example/?x=1")
    assert foreign.redirect_chain[0][0].startswith(f"{LIST}?")
    monkeypatch.setattr(views, "MOST", 1)
    assert "at most 1 views" in change(officer, "save", name="second").content.decode()
