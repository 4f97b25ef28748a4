"""The officers' pages: every list and every row opens, nothing can be edited, actions use the workflow."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.template.loader import render_to_string
from django.test import Client as Browser
from django.test import SimpleTestCase
from django.urls import reverse
from unfold.templatetags import unfold_list as theme

from ledger import log, models, queue
from ledger.admin import finding
from ledger.admin.rows import console_rows
from ledger.statements import keys
from ledger.workflow import request_steps, requests, windows
from tests.ledger import every_kind
from tests.ledger.story import FORGET, TOTAL, Story

EDITABLE = (models.RegulationTerms,)
ADDED = (models.Client, models.DeletionRequest, models.Export, models.Policy, models.RequestImport)
PAGES = [model for model in admin.site._registry if model._meta.app_label == "ledger"]


@pytest.fixture
def boss(db: None) -> Browser:
    browser = Browser()
    browser.force_login(User.objects.create(username="boss", is_staff=True, is_superuser=True))
    return browser


@pytest.fixture
def told(story: Story) -> Story:
    """A story with a row in every table."""
    every_kind.tell(story)
    return story


def act(browser: Browser, model: Any, action: str, row: Any, **answers: Any) -> str:
    """Run an action on one row, with answers to what it asks; returns the page that follows."""
    url = reverse(f"admin:ledger_{model._meta.model_name}_changelist")
    said = {"confirmed": "yes", **answers} if answers else {}
    response = browser.post(url, {"action": action, "_selected_action": [str(row.pk)], **said}, follow=True)
    assert response.status_code == 200
    return response.content.decode()


def test_every_page_opens_and_none_can_be_edited(told: Story, boss: Browser) -> None:
    for model in PAGES:
        expect_read_only(boss, model)


def expect_read_only(boss: Browser, model: Any) -> None:
    """List, search and a row's page open; nothing there can be changed, deleted, or added but by a use case."""
    name = model._meta.model_name
    row = model.objects.first()
    assert row is not None, name
    assert boss.get(reverse(f"admin:ledger_{name}_changelist")).status_code == 200, name
    assert boss.get(reverse(f"admin:ledger_{name}_changelist"), {"q": str(row.pk)}).status_code == 200, name
    change = reverse(f"admin:ledger_{name}_change", args=[row.pk])
    page = boss.get(change)
    assert page.status_code == 200, name
    if model not in EDITABLE:
        assert b'name="_save"' not in page.content, name
        assert boss.post(change, {}).status_code == 403, name
    deletion = reverse(f"admin:ledger_{name}_delete", args=[row.pk])
    assert boss.post(deletion, {"post": "yes"}).status_code == 403, name
    if model not in ADDED:
        assert boss.get(reverse(f"admin:ledger_{name}_add")).status_code == 403, name


def test_the_lists_do_not_ask_once_per_row(story: Story, boss: Browser, django_assert_max_num_queries: Any) -> None:
    for name in "abcde":
        story.party(name)
    story.masked_window()
    for model in PAGES:
        with django_assert_max_num_queries(12):
            boss.get(reverse(f"admin:ledger_{model._meta.model_name}_changelist"))


def test_lists_are_drawn_as_the_theme_draws_them(told: Story, boss: Browser) -> None:
    """Ours is made column by column, for speed: every cell, link, label and class is the theme's."""
    for model in PAGES:
        page = boss.get(reverse(f"admin:ledger_{model._meta.model_name}_changelist"), {"o": "1"})
        cl, context = page.context["cl"], {"request": page.wsgi_request}
        ours = render_to_string("admin/ledger/parts/table.html", console_rows(context, cl))
        theirs = render_to_string("admin/change_list_results.html", theme.result_list(context, cl))
        assert cl.result_list, model
        SimpleTestCase().assertHTMLEqual(ours, theirs.replace(' x-data="{rowOpen: false}"', ""), model)


def test_what_cells_say_is_text(story: Story, boss: Browser) -> None:
    """A client that calls itself by a script runs none, whether its name stands in a field, a method or a link."""
    evil = '"><script>alert(1)</script>'
    party = story.party(evil)
    story.masked_window()
    for model in (models.Client, models.Order, models.ClientModel, models.ClientKey):
        page = boss.get(reverse(f"admin:ledger_{model._meta.model_name}_changelist")).content.decode()
        assert "&lt;script&gt;alert(1)" in page, model
        assert "<script>alert(1)" not in page, model
    assert str(party.row.pk) in page


def test_rows_are_found_by_the_beginning_of_a_uuid(told: Story, boss: Browser) -> None:
    """Or by the words of other fields; what begins no UUID finds none, and no row comes twice."""
    window, order = models.Window.objects.get(), models.Order.objects.get()
    request = window.requests.get()
    for model, term, found in (
        (models.DeletionRequest, str(request.pk), [request]),
        (models.DeletionRequest, f" {request.pk.hex.upper()} ", [request]),
        (models.DeletionRequest, str(request.pk)[:8], [request]),
        (models.DeletionRequest, str(window.pk), [request]),
        (models.DeletionRequest, str(request.pk)[9:], []),
        (models.DeletionRequest, str(uuid.UUID(int=0)), []),
        (models.Order, order.client_model.client.name[:4], [order]),
        (models.Order, str(order.pk)[:13], [order]),
        (models.Event, "nobody", []),
        (models.Job, str(window.pk), list(models.Job.objects.filter(target=window.pk))),
    ):
        page = boss.get(reverse(f"admin:ledger_{model._meta.model_name}_changelist"), {"q": term})
        assert list(page.context["cl"].result_list) == found, (model, term)


def test_the_pages_of_a_list_hold_every_row_once_and_in_order(db: None) -> None:
    models.Event.objects.bulk_create(models.Event(kind="terms.changed") for _ in range(23))
    for order in ("id", "-id"):
        rows = models.Event.objects.order_by(order)
        pages = finding.BothEnds(rows, 5)
        assert [row for number in pages.page_range for row in pages.page(number).object_list] == list(rows)
    assert list(finding.BothEnds(models.Event.objects.none(), 5).page(1).object_list) == []


def test_an_entry_shows_its_statement(told: Story, boss: Browser) -> None:
    entry = models.LogEntry.objects.filter(predicate_type__contains=":order:").get()
    page = boss.get(reverse("admin:ledger_logentry_change", args=[entry.pk])).content.decode()
    assert "urn:unlearning-ledger:predicate:order:v1" in page
    filtered = boss.get(reverse("admin:ledger_logentry_changelist"), {"kind": entry.predicate_type})
    assert filtered.context["cl"].result_count == 1


def test_a_client_is_invited(boss: Browser) -> None:
    add = reverse("admin:ledger_client_add")
    page = boss.post(add, {"name": "clinic"}, follow=True).content.decode()
    assert "shown this once" in page
    assert models.Client.objects.get().name == "clinic"
    assert "already" in boss.post(add, {"name": "clinic"}).content.decode()
    assert models.Client.objects.count() == 1


def test_a_clients_keys_and_tokens(story: Story, boss: Browser) -> None:
    party = story.party()
    key = party.row.keys.get()
    assert "nothing they sign later is" in act(boss, models.ClientKey, "revoke", key)  # asks first
    yes = {"reason": "stolen"}
    assert ": revoked" in act(boss, models.ClientKey, "revoke", key, **yes)
    assert "shown this once" in act(boss, models.Client, "reissue", party.row, **yes)
    party.key = keys.generate()
    party.token = act_token(act(boss, models.Client, "reissue", party.row, **yes))
    party.enrol()
    assert "has a valid key" in act(boss, models.Client, "reissue", party.row, **yes)
    assert "all keys were revoked" in act(boss, models.Client, "reenrol", party.row, **yes)
    assert ": retired" in act(boss, models.Client, "retire", party.row, **yes)
    for state, count in (("retired", 1), ("enrolled", 0), ("keyless", 0), ("invited", 0), ("expired", 0)):
        shown = boss.get(reverse("admin:ledger_client_changelist"), {"state": state})
        assert shown.context["cl"].result_count == count, state
    kinds = models.Event.objects.filter(actor_name="boss").values_list("kind", flat=True)
    assert set(kinds) >= {"client.key-revoked", "client.token-issued", "client.retired"}


def act_token(page: str) -> str:
    """The token that a page shows once."""
    return page.partition("UTC: ")[2].partition("<")[0].strip()


def test_a_request_is_filed(story: Story, boss: Browser) -> None:
    add = reverse("admin:ledger_deletionrequest_add")
    assert "sealed, never in the log" in boss.get(add).content.decode()
    form = {"regulation": "gdpr", "subject": "patient 12", "data_set": "digits", "forget_class": "8"}
    assert "was added" in boss.post(add, form, follow=True).content.decode()
    row = models.DeletionRequest.objects.get()
    assert (row.state, row.forget) == ("open", FORGET)
    assert b"patient 12" not in boss.get(reverse("admin:ledger_deletionrequest_change", args=[row.pk])).content
    late = boss.post(add, form | {"received_at": "2999-01-01 00:00"}).content.decode()
    assert "cannot lie ahead" in late
    assert models.DeletionRequest.objects.count() == 1


def test_requests_are_decided(story: Story, boss: Browser) -> None:
    one, two = (requests.file_request("gdpr", name, FORGET) for name in "xy")
    request_steps.record_identity(one.uuid, "in-person", "verified")
    assert "Approve" in act(boss, models.DeletionRequest, "approve", one)
    assert "approved" in act(boss, models.DeletionRequest, "approve", one, reason="")
    assert "denied" in act(boss, models.DeletionRequest, "deny", two, reason="no-match")
    one.refresh_from_db()
    two.refresh_from_db()
    assert (one.state, two.state) == ("in_progress", "denied")
    size = log.size()
    assert "only open ones are decided" in act(boss, models.DeletionRequest, "deny", one, reason="no-match")
    assert log.size() == size


def test_windows_are_opened_closed_and_certified(story: Story, boss: Browser) -> None:
    request = story.approved_request()
    assert "opened <a" in act(boss, models.DeletionRequest, "open_window", request)
    assert "once is enough" in act(boss, models.DeletionRequest, "open_window", request)
    window = models.Window.objects.get()
    assert list(window.requests.all()) == [request]
    assert "there is no mask" in act(boss, models.Window, "certify", window, sure="yes")
    assert "being computed" in act(boss, models.Window, "close", window, sure="yes")
    windows.publish_mask(window.uuid, b"mask", 1, TOTAL, {})
    assert "stays there" in act(boss, models.Window, "certify", window)  # asks first
    assert not models.Certificate.objects.exists()
    assert "certified" in act(boss, models.Window, "certify", window, sure="yes")
    assert models.Certificate.objects.count() == 1


def test_failed_jobs_are_started_anew(story: Story, boss: Browser) -> None:
    story.closed_window()
    job = models.Job.objects.get()
    assert "has not failed" in act(boss, models.Job, "retry", job)
    queue.fail(job.uuid, "x")
    act(boss, models.Job, "retry", job)
    job.refresh_from_db()
    assert job.state == "queued"


def test_looking_is_not_deciding(story: Story) -> None:
    viewer = User.objects.create(username="viewer", is_staff=True)
    viewer.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    browser = Browser()
    browser.force_login(viewer)
    request = requests.file_request("gdpr", "x", FORGET)
    act(browser, models.DeletionRequest, "approve", request, reason="")
    request.refresh_from_db()
    assert request.state == "open"
