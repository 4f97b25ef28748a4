"""Reports on the console: asked for, watched, fetched, and refused."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client as Browser
from django.urls import reverse

from ledger import log
from ledger.access import roles
from ledger.models import Export, ModelLimit, Window
from ledger.workflow import exports
from tests.ledger.reports.test_exports import made
from tests.ledger.story import Story
from tests.ledger.test_console import somebody

ADD, LIST = "/admin/ledger/export/add/", "/admin/ledger/export/"


@pytest.fixture
def window(story: Story) -> Window:
    return story.masked_window()


def ask(browser: Browser, **asked: Any) -> Any:
    return browser.post(ADD, {"scope": "window", "form": "json", "about": "", "reason": ""} | asked, follow=True)


def fetch(browser: Browser, row: Export) -> Any:
    return browser.post(LIST, {"action": "fetch", "_selected_action": [str(row.pk)]}, follow=True)


def test_a_report_from_the_row_that_it_is_about_to_its_file(window: Window, db: None) -> None:
    officer = somebody(roles.OFFICER)
    there = f"{ADD}?scope=window&amp;about={window.pk}"
    assert there in officer.get(reverse("admin:ledger_window_change", args=[window.pk])).content.decode()
    form = officer.get(there.replace("&amp;", "&")).content.decode()
    assert f'value="{window.pk}"' in form
    page = ask(officer, about=str(window.pk))
    row = Export.objects.get()
    assert page.redirect_chain[-1][0] == reverse("admin:ledger_export_change", args=[row.pk])
    assert "Waits for a worker" in page.content.decode()
    assert "the report is not made yet" in page.content.decode().lower()
    assert "is not made yet: its job says how far it is" in fetch(officer, row).content.decode()
    live, asked = reverse("admin:ledger_export_change", args=[row.pk]), {"X-Part": "row"}
    tag = officer.get(live, headers=asked).headers["ETag"]
    row = made(row)
    now = officer.get(live, headers=asked | {"If-None-Match": tag})
    part = now.content.decode()
    assert row.sha256 in part
    assert officer.get(live, headers=asked | {"If-None-Match": now.headers["ETag"]}).status_code == 304
    assert row.entry is not None
    assert reverse("console:inclusion", args=[row.entry.pk]) in part
    links = fetch(officer, row)
    assert "no-store" in links.headers["Cache-Control"]
    (_row, address), *others = links.context["links"]
    assert others == []
    assert hashlib.sha256(Browser().get(address).getvalue()).hexdigest() == row.sha256
    assert "ready" in officer.get(LIST).content.decode()
    exports.drop_files_with_persons()
    assert fetch(officer, row).context["links"] != []
    Export.objects.update(expires_at=row.created_at)
    exports.drop_files()
    assert "was destroyed; ask for a new report" in fetch(officer, row).content.decode()
    assert Browser().get(address).status_code == 404


def test_naming_persons_needs_the_permission_a_reason_and_a_fresh_proof(window: Window) -> None:
    officer = somebody(roles.OFFICER)
    named = {"about": str(window.pk), "personal_data": "on"}
    session = officer.session
    session["access.proved"] = 0
    session.save()
    assert ask(officer, **named, reason="audit").redirect_chain[-1][0].startswith(reverse("second-factor"))
    officer.force_login(User.objects.get(username=roles.OFFICER))
    assert "needs a reason" in ask(officer, **named).content.decode()
    assert "needs a reason" in ask(officer, about=str(window.pk), reason="audit").content.decode()
    assert "Select a valid choice" in ask(officer, **named, reason="Anna wants it").content.decode()
    assert not Export.objects.exists()
    ask(officer, **named, reason="audit")
    row = made(Export.objects.get())
    assert row.entry is not None
    assert log.statement(row.entry).predicate.reason == "audit"  # type: ignore[attr-defined]
    auditor = somebody(roles.AUDITOR)  # sees that there is such a report, and does not get it
    assert "audit: an auditor checks" in auditor.get(
        reverse("admin:ledger_export_change", args=[row.pk])
    ).content.decode().replace("&#x27;", "'")
    assert "needs the permission to see who asked" in fetch(auditor, row).content.decode()
    assert ask(auditor, about=str(window.pk)).status_code == 403
    clerk = User.objects.create(username="clerk", is_staff=True)  # may ask for reports, but not see who asked
    clerk.user_permissions.set(Permission.objects.filter(codename__in=("add_export", "view_export")))
    browser = Browser()
    browser.force_login(clerk)
    assert "permission to see who asked" in ask(browser, **named, reason="audit").content.decode()
    assert Export.objects.count() == 1


def test_what_is_asked_for_in_vain(window: Window) -> None:
    officer = somebody(roles.OFFICER)
    assert "a later `until`" in ask(officer, scope="period").content.decode()
    assert "has its UUID as `about`" in ask(officer).content.decode()
    assert "there is no client" in ask(officer, scope="client", about=str(window.pk)).content.decode()
    period = {"since": "2026-01-01 00:00", "until": "2026-02-01 00:00"}
    ask(officer, scope="period", **period)
    assert "2026-01-01 00:00 – 2026-02-01 00:00 UTC" in officer.get(LIST).content.decode()
    ModelLimit.objects.create(user=User.objects.get(username=roles.OFFICER), model=window.model)
    row = Export.objects.get()
    for address in (LIST, ADD, reverse("admin:ledger_export_change", args=[row.pk])):
        for headers in ({}, {"X-Part": "any"}):
            assert officer.get(address, headers=headers).status_code == 403
