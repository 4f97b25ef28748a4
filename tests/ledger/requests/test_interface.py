"""Deletion requests over the REST interface and on the pages: every state can be reached by both."""

from __future__ import annotations

import json
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client as Browser
from django.urls import reverse
from django.utils import timezone

from ledger import models
from ledger.workflow import imports, request_steps, windows
from ledger.workflow.terms import change_terms
from tests.ledger.requests.parts import approved, filed, holds, pets, verified
from tests.ledger.story import FORGET, Story
from tests.ledger.test_admin import act
from tests.ledger.test_api import API, expect_problem, post

pytestmark = pytest.mark.django_db
NEW = {"regulation": "gdpr", "subject": "Ada", "forget": FORGET}


def officer(name: str, *, boss: bool = False) -> Browser:
    """With every permission but one, which a boss has too."""
    browser, user = Browser(), User.objects.create(username=name, is_staff=True, is_superuser=boss)
    rights = Permission.objects.filter(content_type__app_label="ledger")
    user.user_permissions.set(rights.exclude(codename="change_regulationterms"))
    browser.force_login(user)
    return browser


@pytest.fixture
def ann() -> Browser:
    return officer("ann")


@pytest.fixture
def bob() -> Browser:
    return officer("bob")


@pytest.fixture
def boss() -> Browser:
    return officer("boss", boss=True)


def get(browser: Browser, path: str, **query: Any) -> Any:
    response = browser.get(API + path, query)
    assert response.status_code == 200, response.content
    return response.json()


def upload(browser: Browser, text: str, kind: str = "text/csv", query: str = "") -> Any:
    return browser.post(f"{API}/requests/imports{query}", text.encode(), content_type=kind)


class TestOverTheWire:
    def test_a_request_from_filing_to_erasure(self, ann: Browser, bob: Browser) -> None:
        change_terms("ccpa", {"four_eyes": True})
        made = post(ann, "/requests", NEW | {"regulation": "ccpa", "statusCallbackUrls": ["https://a.example/"]})
        assert made.status_code == 201
        name = made.json()["uuid"]
        path = f"/requests/{name}"
        assert made.json()["acknowledgeBy"] is not None
        assert post(ann, f"{path}/acknowledge").json()["acknowledged"] is True
        body = {"method": "id-document", "result": "verified", "detail": "card of Ada, X123"}
        checked = post(ann, f"{path}/identity", body)
        assert checked.json()["identity"]["checks"][0]["method"] == "id-document"
        assert "X123" not in checked.content.decode()
        now = timezone.now().isoformat()
        later = post(ann, f"{path}/extend", {"reason": "necessary", "notifiedAt": now}).json()
        assert later["dueAt"] > made.json()["dueAt"]
        assert post(ann, f"{path}/hold", {"reason": "litigation"}).json()["held"] is True
        expect_problem(post(ann, f"{path}/decision", {"decision": "approved"}), 409, "held")
        assert post(ann, f"{path}/lift", {"reason": "hold-ended"}).json()["held"] is False
        once = post(ann, f"{path}/decision", {"decision": "approved"}).json()
        assert (once["state"], once["approvals"]["needed"]) == ("open", 2)
        expect_problem(post(ann, f"{path}/decision", {"decision": "approved"}), 409, "already-approved")
        twice = post(bob, f"{path}/decision", {"decision": "approved"}).json()
        assert [one["name"] for one in twice["approvals"]["given"]] == ["ann", "bob"]
        assert twice["reference"]
        assert post(ann, f"{path}/revoke").json()["state"] == "revoked"
        gone = post(bob, f"{path}/erase", {"reason": "subject-asked"}).json()
        assert gone["erased"] is not None
        assert gone["statusCallbackUrls"] == []
        shown = get(ann, path)
        assert [(event["kind"], event["actor"]["name"]) for event in shown["timeline"]] == [
            ("request.filed", "ann"), ("request.acknowledged", "ann"), ("request.identity-checked", "ann"),
            ("request.extended", "ann"), ("request.held", "ann"), ("request.hold-lifted", "ann"),
            ("request.approval-given", "ann"), ("request.approved", "bob"), ("request.revoked", "ann"),
            ("request.erased", "bob"),
        ]  # fmt: skip
        assert "Ada" not in json.dumps(shown)
        holds()

    def test_filing_again(self, ann: Browser) -> None:
        body = NEW | {"subjectRequestId": str(uuid.uuid4())}
        first, again = post(ann, "/requests", body), post(ann, "/requests", body)
        assert (first.status_code, again.status_code) == (201, 200)
        assert first.json()["uuid"] == again.json()["uuid"]
        expect_problem(post(ann, "/requests", NEW), 409, "duplicate-request")
        linked = post(ann, "/requests", NEW | {"allowDuplicate": "asked-again"}).json()
        assert (linked["duplicateOf"], linked["duplicateReason"]) == (first.json()["uuid"], "asked-again")

    def test_samples_are_shown_to_who_decides_and_in_no_list(self, ann: Browser) -> None:
        pets()
        forget = {"dataset": "pets", "samples": ["ada-1", "bob-1"]}
        found = post(ann, "/requests/preview", {"forget": forget}).json()
        assert (found["matches"], found["index"]["samples"]) == (2, 6)
        assert "2 of 6 samples of pets match" in found["detail"]
        expect_problem(post(ann, "/requests/preview", {"forget": {"dataset": "pets", "class": 9}}), 422, "no-match")
        assert models.DeletionRequest.objects.count() == 0
        name = post(ann, "/requests", NEW | {"forget": forget}).json()["uuid"]
        assert get(ann, f"/requests/{name}")["forget"] == forget
        (line,) = get(ann, "/requests")["items"]
        assert line["forget"] == {"dataset": "pets", "sealed": "samples"}
        assert get(ann, "/datasets")["datasets"][0]["fields"] == ["site", "year"]

    def test_lists_are_filtered_and_paged(self, ann: Browser, story: Story) -> None:
        one = filed(subject="one", received_at=timezone.now() - timedelta(days=20))
        two = request_steps.set_hold(filed("ccpa", "two").uuid, "litigation")
        three = approved(subject="three", forget={"dataset": "else", "class": 1})
        window = windows.open_window(story.model, None, [approved(subject="four").uuid])
        four = window.requests.get()

        def found(**query: Any) -> set[str]:
            return {line["uuid"] for line in get(ann, "/requests", **query)["items"]}

        names = {key: {str(row.uuid)} for key, row in zip("1234", (one, two, three, four), strict=True)}
        assert found() == names["1"] | names["2"] | names["3"] | names["4"]
        assert found(state="open") == names["1"] | names["2"]
        assert found(regulation="ccpa") == found(held="true") == names["2"]
        assert found(verified="true") == names["3"] | names["4"]
        assert found(dataset="else") == names["3"]
        request_steps.acknowledge(one.uuid)
        assert found(acknowledged="true") == names["1"]
        late = (timezone.now() + timedelta(days=30)).strftime("%Y-%m-%dT%H:%M:%SZ")
        assert found(acknowledged="false", acknowledgeBefore=late) == names["2"]
        assert found(model=str(story.model.uuid)) == names["1"] | names["2"] | names["4"]
        assert found(window=str(window.uuid)) == names["4"]
        soon = (timezone.now() + timedelta(days=15)).strftime("%Y-%m-%dT%H:%M:%SZ")
        assert found(dueBefore=soon, state="open") == names["1"]
        first = get(ann, "/requests", limit=3)
        rest = ann.get(first["next"]).json()
        assert (len(first["items"]), len(rest["items"]), rest["next"]) == (3, 1, None)
        assert not {line["uuid"] for line in first["items"]} & {line["uuid"] for line in rest["items"]}

    @pytest.mark.parametrize(
        "query",
        [
            "state=none", "regulation=x", "held=maybe", "dueBefore=soon", "dueBefore=2026-01-01T00:00:00",
            "dueBefore=2026-99-01T00:00:00Z", "window=x", "limit=0", "limit=x", "color=red",
            "state=open&state=denied",
        ],
    )  # fmt: skip
    def test_bad_filters(self, ann: Browser, query: str) -> None:
        expect_problem(ann.get(f"{API}/requests?{query}"), 422, "bad-filter")

    def test_an_unknown_model(self, ann: Browser) -> None:
        expect_problem(ann.get(f"{API}/requests?model={uuid.uuid4()}"), 404, "not-found")

    def test_codes_are_explained(self, ann: Browser) -> None:
        found = get(ann, "/requests/reasons")
        assert found["reasons"]["denial"]["suspected-fraud"]["drp"] == "suspected_fraud"
        assert "id-document" in found["identityMethods"]
        assert "subject-asked" in found["erasure"]

    def test_terms_are_changed_by_who_may(self, ann: Browser, boss: Browser) -> None:
        assert len(get(ann, "/regulations")["regulations"]) == 5
        change = json.dumps({"days": 20, "months": 0, "fourEyes": True})
        refused = ann.patch(f"{API}/regulations/gdpr", change, content_type="application/json")
        expect_problem(refused, 403, "permission-denied")
        done = boss.patch(f"{API}/regulations/gdpr", change, content_type="application/json").json()
        assert (done["days"], done["fourEyes"], done["extensionMonths"]) == (20, True, 2)
        assert get(ann, "/regulations/gdpr") == done
        lax = boss.patch(f"{API}/regulations/gdpr", '{"months": 2}', content_type="application/json")
        expect_problem(lax, 422, "bad-terms")
        expect_problem(ann.get(f"{API}/regulations/hipaa"), 422, "bad-regulation")
        for wrong in (
            '{"weeks": 1}',
            '{"days": -1}',
            '{"days": 99999999999}',
            '{"notice": "x"}',
            '{"identityDays": 99999}',
        ):
            answer = boss.patch(f"{API}/regulations/other", wrong, content_type="application/json")
            assert answer.status_code == 422, wrong


class TestImports:
    CSV = "regulation,subject,dataset,class,receivedAt\n"

    def lines(self, count: int) -> str:
        return self.CSV + "".join(f"gdpr,person {n},d,1,2026-10-01T00:00:00Z\n" for n in range(count))

    def test_small_files_at_once(self, ann: Browser) -> None:
        text = self.lines(2) + "gdpr,person 9,d,x,2026-10-01T00:00:00Z\n"
        dry = upload(ann, text, query="?dryRun=true").json()
        assert (dry["filed"], dry["refused"], models.DeletionRequest.objects.count()) == (2, 1, 0)
        done = upload(ann, text).json()
        assert (done["filed"], done["already"], done["refused"]) == (2, 0, 1)
        assert done["report"][2]["line"] == 4
        assert 'got "x"' in done["report"][2]["detail"]
        again = upload(ann, text).json()
        assert (again["filed"], again["already"], again["refused"]) == (0, 2, 1)
        assert get(ann, f"/requests/imports/{again['uuid']}")["report"] == again["report"]
        line = {"regulation": "gdpr", "subject": "Eve", "forget": FORGET, "receivedAt": "2026-10-01T00:00:00Z"}
        assert upload(ann, json.dumps(line), "application/x-ndjson").json()["filed"] == 1

    def test_large_ones_by_a_worker(self, ann: Browser) -> None:
        answer = upload(ann, self.lines(imports.AT_ONCE + 1))
        assert answer.status_code == 202
        waiting = answer.json()
        assert (waiting["job"]["state"], waiting["report"]) == ("queued", None)
        assert answer.headers["Location"] == f"{API}/requests/imports/{waiting['uuid']}"
        imports.run_import(waiting["uuid"], lambda *_: None)
        done = ann.get(answer.headers["Location"]).json()
        assert (done["filed"], len(done["report"])) == (imports.AT_ONCE + 1, imports.AT_ONCE + 1)

    def test_they_are_listed(self, ann: Browser) -> None:
        names = [upload(ann, self.lines(count)).json()["uuid"] for count in (1, 2, 3)]
        first = get(ann, "/requests/imports", limit=2)
        assert [(line["uuid"], line["lines"]) for line in first["items"]] == [(names[2], 3), (names[1], 2)]
        assert "report" not in first["items"][0]
        rest = ann.get(first["next"]).json()
        assert ([line["uuid"] for line in rest["items"]], rest["next"]) == ([names[0]], None)

    def test_what_is_refused(self, ann: Browser) -> None:
        expect_problem(upload(ann, ""), 422, "bad-file")
        expect_problem(upload(ann, "a,b\n1,2\n"), 422, "bad-file")
        expect_problem(upload(ann, self.lines(1), "text/plain"), 415, "unsupported-media-type")
        expect_problem(upload(ann, self.lines(1), query="?dryRun=perhaps"), 422, "bad-filter")
        latin = ann.post(f"{API}/requests/imports", "regulation,Über".encode("latin-1"), content_type="text/csv")
        expect_problem(latin, 422, "bad-file")
        expect_problem(ann.get(f"{API}/requests/imports/{uuid.uuid4()}"), 404, "not-found")
        assert models.DeletionRequest.objects.count() == 0


PATHS = [
    ("GET", "/requests"), ("POST", "/requests/preview"), ("POST", "/requests/imports"),
    ("GET", "/requests/reasons"),
    ("GET", "/regulations"), ("GET", "/regulations/gdpr"), ("PATCH", "/regulations/gdpr"), ("GET", "/datasets"),
    *(("POST", f"/requests/{uuid.UUID(int=1)}/{step}")
      for step in ("acknowledge", "identity", "extend", "hold", "lift", "revoke")),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path"), PATHS)
def test_officers_only(method: str, path: str) -> None:
    expect_problem(Browser().generic(method, API + path), 401, "not-authenticated")
    visitor = Browser()
    visitor.force_login(User.objects.create(username="visitor"))
    expect_problem(visitor.generic(method, API + path), 403, "permission-denied")


class TestPages:
    def test_a_request_from_filing_to_erasure(self, boss: Browser) -> None:
        bob = officer("bob", boss=True)
        change_terms("gdpr", {"four_eyes": True})
        pets()
        add = reverse("admin:ledger_deletionrequest_add")
        form = {"regulation": "gdpr", "subject": "Ada", "data_set": "pets", "samples": "ada-1\nbob-1"}
        counted = boss.post(add, form | {"count_only": "on"}).content.decode()
        assert "2 of 6 samples of pets match; nothing was filed" in counted
        assert models.DeletionRequest.objects.count() == 0
        assert "give one of class" in boss.post(add, form | {"forget_class": "1"}).content.decode()
        assert "1 of the 1 samples named" in boss.post(add, form | {"samples": "zoe"}).content.decode()
        assert "was added" in boss.post(add, form, follow=True).content.decode()
        assert "under way" in boss.post(add, form).content.decode()
        row = models.DeletionRequest.objects.get()
        table = models.DeletionRequest
        assert "receipt confirmed" in act(boss, table, "acknowledge", row)
        said = {"method": "in-person", "result": "verified", "detail": "saw her"}
        assert "sealed, shown nowhere" in act(boss, table, "identify", row)
        assert "recorded" in act(boss, table, "identify", row, **said)
        when = timezone.now().strftime("%Y-%m-%d %H:%M:%S")
        row.refresh_from_db()
        assert "extended" in act(boss, table, "extend", row, reason="complexity", notified_at=when)
        assert "held" in act(boss, table, "hold", row, reason="litigation")
        assert "lift that first" in act(boss, table, "approve", row, reason="")
        assert "no longer held" in act(boss, table, "lift", row, reason="hold-ended")
        act(boss, table, "approve", row, reason="")
        assert "another officer must" in act(boss, table, "approve", row, reason="")
        act(bob, table, "approve", row, reason="identity-verified")
        row.refresh_from_db()
        assert row.state == "in_progress"
        page = boss.get(reverse("admin:ledger_deletionrequest_change", args=[row.pk])).content.decode()
        assert "One of several officers approved a request</b>" in page
        assert 'console-hint">boss</span>' in page
        assert "ada-1" not in page
        assert "revoked" in act(boss, table, "revoke", row, reason="subject-withdrew")
        assert "erased" in act(boss, table, "erase", row, reason="subject-asked", certain="on")
        row.refresh_from_db()
        assert row.erased_entry is not None
        holds()

    def test_nothing_happens_without_an_answer(self, boss: Browser) -> None:
        row = verified()
        before = models.LogEntry.objects.count()
        for action in ("identify", "approve", "deny", "extend", "hold", "lift", "revoke", "erase"):
            assert str(row.uuid) in act(boss, models.DeletionRequest, action, row)
        assert "This field is required" in act(boss, models.DeletionRequest, "deny", row, reason="")
        assert models.LogEntry.objects.count() == before

    def test_who_may_only_look_acts_on_nothing(self) -> None:
        viewer = User.objects.create(username="viewer", is_staff=True)
        viewer.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
        browser, row, before = Browser(), verified(), models.LogEntry.objects.count()
        browser.force_login(viewer)
        for action in ("acknowledge", "identify", "approve", "deny", "extend", "hold", "lift", "revoke", "erase"):
            act(browser, models.DeletionRequest, action, row, reason="no-match", certain="on")
        assert models.LogEntry.objects.count() <= before + 2

    def test_a_file_is_imported(self, boss: Browser) -> None:
        add = reverse("admin:ledger_requestimport_add")
        text = TestImports().lines(2) + "bad,person 3,d,1,2026-10-01T00:00:00Z\n"

        def form(text: bytes, **more: Any) -> dict[str, Any]:
            return {"format": "csv", "upload": SimpleUploadedFile("r.csv", text), **more}

        assert "was added" in boss.post(add, form(text.encode(), dry_run="on"), follow=True).content.decode()
        assert models.DeletionRequest.objects.count() == 0
        assert "was added" in boss.post(add, form(text.encode()), follow=True).content.decode()
        row = models.RequestImport.objects.order_by("-created_at").first()
        assert row is not None
        assert (row.filed, row.refused, row.actor_name) == (2, 1, "boss")
        page = boss.get(reverse("admin:ledger_requestimport_change", args=[row.pk])).content.decode()
        assert "got the regulation &#x27;bad&#x27;" in page
        assert "UTF-8" in boss.post(add, form(b"\xff")).content.decode()
        assert "line 1" in boss.post(add, form(b"x,y\n1,2\n")).content.decode()
        large = TestImports().lines(imports.AT_ONCE + 1).encode()
        boss.post(add, form(large), follow=True)
        assert models.Job.objects.get().kind == "import"

    def test_terms_are_seen_and_changed(self, boss: Browser) -> None:
        page = boss.get(reverse("admin:ledger_regulationterms_changelist")).content.decode()
        assert "CCPA/CPRA" in page
        change = reverse("admin:ledger_regulationterms_change", args=["gdpr"])
        form = {
            "months": 1, "days": 0, "extension_months": 2, "extension_days": 0, "notice": "in-first-period",
            "acknowledge_business_days": 0, "identity_required": "on", "identity_days": 30, "four_eyes": "on",
        }  # fmt: skip
        assert "not laxer" in boss.post(change, form | {"months": 3}).content.decode()
        assert "was changed" in boss.post(change, form, follow=True).content.decode()
        assert models.RegulationTerms.objects.get(regulation="gdpr").four_eyes
        event = models.Event.objects.get(kind="terms.changed")
        assert event.actor_name == "boss"
        assert models.RegulationTerms.objects.get(regulation="ccpa").days == 45
