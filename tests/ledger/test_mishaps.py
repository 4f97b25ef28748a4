"""What the console says where it cannot do or show what was asked: a sentence that explains, never a bare code."""

from __future__ import annotations

from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import OperationalError
from django.test import Client as Browser
from django.urls import reverse

from ledger import models
from ledger.access import roles
from ledger.admin import figures
from tests.ledger.story import Story

NO_KEYS = ("zzz", "", "\0", "00000000-0000-0000-0000-00000000000", "9" * 40, "../../etc/passwd")


@pytest.fixture
def officer(db: None) -> Browser:
    account = User.objects.create(username="olga", is_staff=True)
    account.groups.add(Group.objects.get(name=roles.OFFICER))
    browser = Browser(raise_request_exception=False)
    browser.force_login(account)
    return browser


def words(answer: Any) -> str:
    return " ".join(unescape(answer.content.decode()).split())


def test_an_action_on_what_is_no_row_is_refused_in_words(story: Story, officer: Browser) -> None:
    """Whatever the key is made of; rows beside it are left alone."""
    good = story.approved_request()
    for key in NO_KEYS:
        said = {
            "action": "hold",
            "_selected_action": [str(good.pk), key],
            "confirmed": "yes",
            "reason": "litigation",
        }
        answer = officer.post(reverse("admin:ledger_deletionrequest_changelist"), said, follow=True)
        assert answer.status_code == 200, key
        assert f"{key!r} names no row, so nothing was done" in words(answer)
    for table in ("job", "blob", "order"):  # numbers, texts, UUIDs
        said = {"action": "retry", "_selected_action": "\0"}
        assert officer.post(reverse(f"admin:ledger_{table}_changelist"), said, follow=True).status_code == 200
    good.refresh_from_db()
    assert not good.held


def test_no_address_breaks_the_server(story: Story, officer: Browser) -> None:
    """Rows, filters, searches, pages, and forms of an account's own, with keys and numbers that are none."""
    row = story.approved_request()
    requests, own = reverse("admin:ledger_deletionrequest_changelist"), reverse("second-factor-setup")
    asked = [requests + f"{key}/change/" for key in ("zzz", "9" * 40, "%00")]
    asked += [reverse("admin:ledger_blob_changelist") + "%00/change/"]
    strange = ("windows__uuid__exact=zzz", "q=%00", "p=zzz", "p=" + "9" * 40, "o=9.x", "due_at__gte=zzz",
               "left=zzz", "state__exact=%00", "nothing=1")  # fmt: skip
    asked += [f"{requests}?{query}" for query in strange]
    asked += [f"{requests}csv/?{query}" for query in ("windows__uuid__exact=zzz", "q=%00", "due_at__gte=zzz")]
    asked += [
        reverse("admin:ledger_export_add") + "?scope=request&about=zzz",
        reverse("console:inclusion", args=[10**30]),
    ]
    for address in asked:
        assert officer.get(address).status_code < 500, address
    for address, said in (
        (own, {"do": "remove", "factor": "zzz"}),
        (reverse("api-tokens"), {"do": "revoke", "token": "zzz"}),
        (
            reverse("admin:ledger_window_changelist"),
            {"action": "put", "_selected_action": str(row.pk), "requests": "zzz"},
        ),
    ):
        assert officer.post(address, said).status_code < 500, address
    for body in ("{", "[]", "null"):
        answer = officer.post(reverse("second-factor-passkey", args=["use"]), body, content_type="application/json")
        assert (answer.status_code, "cannot be read" in answer.json()["error"]) == (400, True)


def test_a_page_that_is_not_there_says_so_in_the_readers_language(officer: Browser) -> None:
    answer = officer.get("/admin/ledger/nothing/")
    assert answer.status_code == 404
    assert "There is no such page" in words(answer)
    assert 'id="nav-sidebar"' in words(answer)  # whoever is lost finds the way
    german = officer.get("/admin/ledger/nothing/", headers={"Accept-Language": "de"})
    assert "Diese Seite gibt es nicht" in words(german)
    assert officer.get("/api/v1/nothing").json()["type"].endswith(":not-found")


def test_who_may_not_is_told_which_roles_they_have(officer: Browser) -> None:
    answer = officer.get(reverse("admin:ledger_policy_add"))
    assert answer.status_code == 403
    assert "Your account may not do this" in words(answer)
    assert "Your roles: officer." in words(answer)


def test_a_form_of_another_site_does_nothing_and_says_why(story: Story, officer: Browser) -> None:
    strict = Browser(enforce_csrf_checks=True)
    strict.force_login(User.objects.get(username="olga"))
    row = story.approved_request()
    said = {"action": "hold", "_selected_action": str(row.pk), "confirmed": "yes", "reason": "litigation"}
    answer = strict.post(reverse("admin:ledger_deletionrequest_changelist"), said)
    assert answer.status_code == 403
    assert "This form is not valid any more" in words(answer)
    assert not models.DeletionRequest.objects.get(pk=row.pk).held


def test_what_the_server_refuses_to_read_is_explained(officer: Browser) -> None:
    answer = officer.get("/admin/", headers={"Host": "evil.example"})
    assert answer.status_code == 400
    assert "host name is none of this server's" in words(answer)


def test_a_failure_tells_its_number_and_nothing_else(officer: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without asking the database, which may be what has failed; that is said as something that passes."""

    def fail(error: Exception) -> Any:
        def instead(_rows: object) -> None:
            raise error

        return instead

    monkeypatch.setattr(figures, "_due", fail(RuntimeError("password=hunter2")))
    answer = officer.get(reverse("console:figures"))
    assert answer.status_code == 500
    assert f"under the number {answer['X-Request-Id']}." in words(answer)
    assert "hunter2" not in words(answer)
    monkeypatch.setattr(figures, "_due", fail(OperationalError("the connection is lost")))
    away = officer.get(reverse("console:figures"))
    assert (away.status_code, away["Retry-After"]) == (503, "10")
    assert "database or storage does not answer" in words(away)
