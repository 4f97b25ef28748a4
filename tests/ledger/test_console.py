"""The console's own pages: what needs somebody today, proofs of inclusion, exports, and what changes meanwhile."""

from __future__ import annotations

import csv
import io
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, Permission, User
from django.test import Client as Browser
from django.urls import reverse
from django.utils import timezone

from ledger import log, models
from ledger.access import roles
from ledger.admin import empty, inclusion
from ledger.admin.base import ReadOnlyAdmin
from ledger.fsck.run import check_and_record
from ledger.workflow import certificates, proofs
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
    window = story.rejected_window()
    window.orders.filter(client_model__client__name="quiet").update(
        due_at=timezone.now() - timedelta(days=2, hours=1)
    )
    late = story.approved_request("another")
    models.DeletionRequest.objects.filter(pk=late.pk).update(due_at=timezone.now() - timedelta(days=3, hours=1))
    return window


def test_the_first_page_says_what_needs_somebody(under_way: models.Window, officer: Browser) -> None:
    check_and_record()
    page = officer.get("/admin/")
    text = " ".join(page.content.decode().split())
    assert "<b>1</b> overdue" in text
    assert "3 days late" in text
    assert "cheater" in text
    assert models.VerdictRecord.objects.get().failures[0]["reason"][:40] in text
    assert "2 days late" in text  # the silent client
    assert "1 no answer yet" in text
    assert "none configured: nobody outside vouches for this log" in text
    assert (
        'ALARM: <span lang="en">the deletion request' in text
    )  # whose due date this test has moved behind the log's back
    models.FsckRun.objects.update(problem="")
    assert "good, " in officer.get("/admin/").content.decode()
    late = officer.get(page.context["requests"]["late_list"])
    assert late.context["cl"].result_count == 1


def test_the_first_page_asks_little_whatever_the_role(
    under_way: models.Window, django_assert_max_num_queries: Any
) -> None:
    """With and without work for the workers, limited to a model or not, with a second factor or without."""
    browsers = {role: somebody(role) for role in roles.ROLES}
    models.ModelLimit.objects.create(user=User.objects.get(username=roles.AUDITOR), model=under_way.model)
    for state in (models.Job.State.RUNNING, models.Job.State.QUEUED):
        models.Job.objects.update(state=state)
        for role, browser in browsers.items():
            with django_assert_max_num_queries(15):
                page = browser.get("/admin/")
            assert page.context["windows"]["rows"], role


def test_what_an_account_may_is_what_its_groups_and_itself_may(db: None) -> None:
    """They are asked for together, and are the same as Django's own two questions find."""
    account = User.objects.create(username="both", is_staff=True)
    account.groups.add(Group.objects.get(name=roles.APPROVER), Group.objects.get(name=roles.OFFICER))
    account.user_permissions.add(Permission.objects.get(codename="change_job"))
    again = User.objects.get(pk=account.pk)
    expected = again.get_user_permissions() | again.get_group_permissions()
    assert User.objects.get(pk=account.pk).get_all_permissions() == expected > {"ledger.change_job"}
    User.objects.filter(pk=account.pk).update(is_active=False)
    assert User.objects.get(pk=account.pk).get_all_permissions() == set()


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


def test_lists_and_rows_are_sent_in_part_when_they_change(under_way: models.Window, officer: Browser) -> None:
    """With the page's own filters and permissions; who is not logged in learns nothing."""
    order = under_way.orders.get(state="issued")
    orders = reverse("admin:ledger_order_changelist") + "?state__exact=issued"
    pages = {
        orders: str(order.pk)[:8],
        reverse("admin:ledger_order_change", args=[order.pk]): "The client has not answered yet.",
        reverse("admin:ledger_window_change", args=[under_way.pk]): "1 no answer yet",
        reverse("admin:ledger_job_changelist"): "Queued",
    }
    asked, tags = {"X-Part": "any"}, {}
    for address, words in pages.items():
        part = officer.get(address, headers=asked)
        assert words in part.content.decode(), address
        assert b"<html" not in part.content
        tags[address] = part["ETag"]
        assert officer.get(address, headers=asked | {"If-None-Match": part["ETag"]}).status_code == 304
        assert b"<html" in officer.get(address).content
        assert Browser().get(address, headers=asked).status_code == 302
    models.Order.objects.filter(pk=order.pk).update(state="met")
    models.Job.objects.update(state="done")
    for address, tag in tags.items():
        changed = officer.get(address, headers=asked | {"If-None-Match": tag})
        assert changed.status_code == 200, address
        assert pages[address] not in changed.content.decode()


def test_a_list_goes_out_as_it_is_shown_and_runs_nothing(story: Story, officer: Browser) -> None:
    for name in ('=HYPERLINK("http://evil.example")', "@SUM(1)", "+1+2", "-2+3", "clinic"):
        story.party(name, committed=False)
    export = reverse("admin:ledger_client_csv")
    page = officer.get(reverse("admin:ledger_client_changelist"), {"q": "clinic"}).content.decode()
    assert 'href="csv/?q=clinic"' in page
    table = list(csv.reader(io.StringIO(b"".join(officer.get(export)).decode())))
    names = {row[0] for row in table[1:]}
    assert table[0][0] == "Name"
    assert names == {'\'=HYPERLINK("http://evil.example")', "'@SUM(1)", "'+1+2", "'-2+3", "clinic"}
    found = list(csv.reader(io.StringIO(b"".join(officer.get(export, {"q": "clinic"})).decode())))
    assert [row[0] for row in found[1:]] == ["clinic"]
    assert Browser().get(export).status_code == 302
    stranger = Browser()
    stranger.force_login(User.objects.create(username="new", is_staff=True))
    assert stranger.get(export).status_code == 403


def test_inclusion_is_recomputed_and_a_changed_entry_is_seen(under_way: models.Window, officer: Browser) -> None:
    log.publish_checkpoint()
    assert under_way.mask_entry is not None
    index = under_way.mask_entry.index
    address = reverse("console:inclusion", args=[index])
    text = officer.get(address).content.decode()
    head = log.latest_checkpoint()
    assert head is not None
    assert f"entry {index} is a leaf of the signed tree of {head.size} entries" in text
    assert text.count(bytes(head.root).hex()) >= 2  # the last step, and the root
    for at in range(head.size):  # the steps that are shown end where they must, whatever the leaf and the tree
        shown = inclusion.proof(models.LogEntry.objects.get(index=at))
        assert shown["root"] == bytes(head.root).hex()
        assert shown["problem"] == ""
    forged = models.LogEntry.objects.get(index=index)
    forged.envelope = bytes(forged.envelope).replace(b"payload", b"pay1oad", 1)
    assert "is not proved" in inclusion.proof(forged)["problem"]
    assert Browser().get(address).status_code == 302
    assert officer.get(reverse("console:inclusion", args=[10_000])).status_code == 404


def test_a_rows_page_tells_its_story_and_why_not(under_way: models.Window, officer: Browser) -> None:
    """Each step with its proof; what cannot be done has a reason; what can be done leads back."""
    request = under_way.requests.get()
    page = officer.get(reverse("admin:ledger_deletionrequest_change", args=[request.pk]))
    text = page.content.decode()
    for words in ("A deletion request was recorded", "A request was approved", "orders were issued"):
        assert words in text
    assert reverse("console:inclusion", args=[request.filed_entry_id]) in text
    reasons = {deed["name"]: deed["why_not"] for deed in page.context["deeds"]}
    assert reasons["approve"] == "Your role does not include this"  # officers do not approve
    assert "cannot be called back" in reasons["revoke"]
    assert reasons["lift"] == "It is under no legal hold"
    assert reasons["hold"] == ""
    start = {"action": "hold", "_selected_action": str(request.pk), "_back": "row"}
    assert "Set a legal hold" in officer.post(page.context["deeds_url"], start).content.decode()
    done = officer.post(page.context["deeds_url"], {**start, "confirmed": "yes", "reason": "litigation"})
    assert done["Location"] == reverse("admin:ledger_deletionrequest_change", args=[request.pk])
    after = {deed["name"]: deed["why_not"] for deed in officer.get(done["Location"]).context["deeds"]}
    assert (after["hold"], after["lift"]) == ("It is under a legal hold already", "")


def test_a_verdict_says_in_plain_words_what_it_says(under_way: models.Window, officer: Browser) -> None:
    row = models.VerdictRecord.objects.get()
    text = officer.get(reverse("admin:ledger_verdictrecord_change", args=[row.pk])).content.decode()
    said = log.statement(row.entry).predicate
    assert "The proof of cheater was rejected (attempt 1): the order is not met." in text
    assert "Whoever made it can forge proofs" in text
    assert said.failures[0].reason in text
    assert "This proves" not in text
    assert "A client submitted its proofs" in text  # the order's story
    order = officer.get(reverse("admin:ledger_order_change", args=[row.proof.claim.order_id])).content.decode()
    assert "The proof of cheater was rejected" in order


def test_a_certificate_says_in_plain_words_what_it_says(
    under_way: models.Window, officer: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the signed statement: who has not complied, of how much, how sure, and what is not proved; also where
    the log lists the clients apart, and where a later certificate counts."""

    def page(row: models.Certificate) -> str:
        shown = officer.get(reverse("admin:ledger_certificate_change", args=[row.pk]))
        return " ".join(unescape(shown.content.decode()).split())

    monkeypatch.setattr(certificates, "_MOST_REPEATED", 0)  # as with hundreds of clients
    (row,) = certificates.certify(under_way.uuid)
    said = log.statement(row.entry).predicate
    assert said.outcomes == []
    assert said.outcomes_in is not None
    text = page(row)
    assert "was not done by enough clients" in text
    assert "Clients that were ordered to unlearn: 2. That have proved it: 0, 0 of them late." in text
    assert "cheater: the proof was rejected" in text
    assert "quiet: no answer" in text
    assert "No proof was accepted" in text
    assert "Whoever made it can forge proofs" in text
    for line in (*said.proves, *said.does_not_prove):
        assert line in text
    assert reverse("console:inclusion", args=[row.entry_id]) in text
    assert "A deletion request was recorded" in text  # the request's story


def test_a_later_certificate_is_the_one_that_counts(story: Story, officer: Browser) -> None:
    party = story.party("late")
    window = story.masked_window()
    window.orders.update(due_at=timezone.now() - timedelta(days=1))
    (first,) = certificates.certify(window.uuid)
    proofs.record_verdict(story.proved(party, window.orders.get()).uuid, verdict())
    (second,) = certificates.latest_certificates(window)
    texts = [officer.get(reverse("admin:ledger_certificate_change", args=[one.pk])) for one in (first, second)]
    before, after = (" ".join(unescape(one.content.decode()).split()) for one in texts)
    assert "A later certificate has brought it up to date: that one counts." in before
    assert reverse("admin:ledger_certificate_change", args=[second.pk]) in before
    assert "was done with this model, and proved." in after
    assert "That have proved it: 1, 1 of them late." in after
    assert "Coverage: full. Of every client that complied" in after
    assert "caught with a chance of 100 %." in after


def test_charts_are_tables_of_what_was_signed(
    story: Story, under_way: models.Window, officer: Browser, django_assert_max_num_queries: Any
) -> None:
    with django_assert_max_num_queries(14):
        page = officer.get(reverse("console:figures"))
    text = " ".join(page.content.decode().split())
    row = models.VerdictRecord.objects.get()
    said = log.statement(row.entry).predicate
    (shown,) = page.context["checked"]["rows"]
    assert (shown["checked"], shown["touched"], shown["accepted"]) == (
        said.proved_chunks,
        said.proved_chunks,
        False,
    )
    assert f"{said.proved_chunks} of {said.proved_chunks} (100 %)" in text
    assert '<th scope="row">Overdue</th>' in text
    assert "the ledger does not know it" in text
    live = officer.get(
        reverse("admin:ledger_window_change", args=[under_way.pk]), headers={"X-Part": "row"}
    ).content.decode()
    assert reverse("admin:ledger_verdictrecord_change", args=[row.pk]) in live
    stranger = User.objects.create(username="elsewhere", is_staff=True)
    stranger.groups.add(Group.objects.get(name=roles.OFFICER))
    other = models.GlobalModel.objects.create(
        name="theirs", entry=row.entry, file_sha256="0" * 64, architecture={}, total_weights=1, dataset="other"
    )
    models.ModelLimit.objects.create(user=stranger, model=other)
    browser = Browser()
    browser.force_login(stranger)
    seen = browser.get(reverse("console:figures"))
    assert (seen.context["windows"], seen.context["checked"]["rows"]) == ([], [])


def test_charts_without_data_say_what_comes_next(officer: Browser) -> None:
    text = officer.get(reverse("console:figures")).content.decode()
    for words in ("No request is waiting.", "No window has a mask yet.", "No verdict yet"):
        assert words in text


def test_every_empty_list_says_how_rows_come_about(db: None, officer: Browser) -> None:
    for page in admin.site._registry.values():
        if isinstance(page, ReadOnlyAdmin):
            name = f"admin:ledger_{page.opts.model_name}_changelist"
            assert page.opts.model_name in empty._WORDS
            text = unescape(officer.get(reverse(name)).content.decode())
            assert str(page.empty_words) in text, page
    text = officer.get(reverse("admin:ledger_client_changelist"), {"q": "nobody"}).content.decode()
    assert "No row passes these filters" in text
    assert 'href="?view=all"' in text
