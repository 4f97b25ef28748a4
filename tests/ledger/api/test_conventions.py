"""What all operations share: pages, entity tags, idempotency keys, limits, the document."""

from __future__ import annotations

import base64
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.conf import LazySettings
from django.contrib.auth.models import User
from django.db import connection, connections, transaction
from django.test import Client as Browser
from openapi_spec_validator import validate
from rest_framework.settings import api_settings

from ledger import models
from ledger.access import rates
from ledger.api import openapi
from ledger.workflow import housekeeping
from ledger.workflow.clients import invite_client
from tests.ledger.api.parts import API, by_client, by_officer, fresh, officer
from tests.ledger.story import Story
from tests.ledger.test_api import expect_problem, send

NEW = {"name": "clinic"}


@pytest.fixture
def boss(db: None) -> Browser:
    return officer("boss", superuser=True)


class TestPages:
    def test_every_row_comes_once_while_rows_come_and_go(self, boss: Browser) -> None:
        names = [f"client {number:02}" for number in range(7)]
        for name in names:
            invite_client(name)
        seen, address = [], f"{API}/clients?limit=3"
        while address:
            page = boss.get(address).json()
            seen += [line["name"] for line in page["items"]]
            address = page["next"]
            if len(seen) == 3:
                invite_client("client 00a")  # before the reader's place
                invite_client("client 99")  # beyond it
        assert seen == [*names, "client 99"]

    def test_rows_alike_in_the_first_column(self, boss: Browser) -> None:
        for number in range(5):
            invite_client(f"client {number}")
        models.Client.objects.update(invited_at="2026-01-01T00:00:00Z")
        first = boss.get(f"{API}/clients?limit=2").json()
        assert len(first["items"]) == 2

    @pytest.mark.parametrize(
        "cursor", ["x", "e30", "W10", "WyJhIl0", "WyJhIiwgImIiXQ", "//", "WyJcdTAwMDAiLCAiMSJd"]
    )
    def test_cursors_of_nobody(self, boss: Browser, cursor: str) -> None:
        expect_problem(boss.get(f"{API}/windows?cursor={cursor}"), 422, "bad-cursor")

    @pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=x", "odd=1", "name=%00", "name=a&name=b"])
    def test_what_addresses_cannot_say(self, boss: Browser, query: str) -> None:
        expect_problem(boss.get(f"{API}/clients?{query}"), 422, "bad-filter")


class TestEntityTags:
    def test_what_has_not_changed_is_not_sent(self, boss: Browser) -> None:
        address = f"{API}/clients"
        tag = boss.get(address).headers["ETag"]
        again = boss.get(address, headers={"If-None-Match": f'"other", W/{tag}'})
        assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", tag)
        invite_client("another")
        assert boss.get(address, headers={"If-None-Match": tag}).status_code == 200

    def test_files_are_named_by_their_digest(self, story: Story) -> None:
        party = story.party(committed=False)
        path = f"/blobs/{story.model.file_sha256}"
        whole = by_client("GET", path, party)
        assert whole.getvalue() == b"model"
        tag = whole.headers["ETag"]
        assert by_client("GET", path, party, If_None_Match=tag).status_code == 304

    def test_no_update_is_lost(self, story: Story, boss: Browser) -> None:
        """Two officers look at a window; the second one's step was meant for what the first one changed."""
        story.party()
        window = models.Window.objects.get(uuid=story.closed_window().uuid)
        address = f"{API}/clients/{models.Client.objects.get().uuid}"
        tag = boss.get(address).headers["ETag"]
        models.Client.objects.update(name="renamed")
        before = models.LogEntry.objects.count()
        stale = by_officer("POST", address.removeprefix(API) + "/retire", boss, If_Match=tag)
        expect_problem(stale, 412, "stale")
        assert models.LogEntry.objects.count() == before
        fresh_tag = boss.get(f"{API}/windows/{window.uuid}").headers["ETag"]
        refused = by_officer("POST", f"/windows/{window.uuid}/close", boss, If_Match=fresh_tag)
        expect_problem(refused, 409, "not-open")


class TestIdempotency:
    def test_the_same_answer_and_no_second_effect(self, boss: Browser) -> None:
        key = fresh()
        first = by_officer("POST", "/clients", boss, NEW, Idempotency_Key=key)
        second = by_officer("POST", "/clients", boss, NEW, Idempotency_Key=key)
        assert (first.status_code, second.status_code) == (201, 201)
        assert first.json() == second.json()  # with the token that is shown once
        assert "Idempotent-Replayed" not in first.headers
        assert second.headers["Idempotent-Replayed"] == "true"
        assert models.Client.objects.count() == 1

    def test_the_table_does_not_give_the_answer_away(self, boss: Browser) -> None:
        token = by_officer("POST", "/clients", boss, NEW, Idempotency_Key=fresh()).json()["token"]
        assert token.encode() not in bytes(models.KeptAnswer.objects.get().answer)

    def test_another_request_under_the_same_key(self, boss: Browser) -> None:
        key = fresh()
        by_officer("POST", "/clients", boss, NEW, Idempotency_Key=key)
        other = by_officer("POST", "/clients", boss, {"name": "other"}, Idempotency_Key=key)
        expect_problem(other, 422, "idempotency-key-reused")
        elsewhere = by_officer("POST", "/clients?x=1", boss, NEW, Idempotency_Key=key)
        expect_problem(elsewhere, 422, "idempotency-key-reused")
        assert models.Client.objects.count() == 1

    def test_another_callers_key_is_another_key(self, boss: Browser) -> None:
        """The attack: whoever learns a key asks for the answer, which holds a token."""
        key, thief = fresh(), officer("thief", "add_client")
        token = by_officer("POST", "/clients", boss, NEW, Idempotency_Key=key).json()["token"]
        stolen = by_officer("POST", "/clients", thief, NEW, Idempotency_Key=key)
        assert token not in stolen.content.decode()
        expect_problem(stolen, 409, "name-taken")
        nobody = officer("nobody")
        expect_problem(by_officer("POST", "/clients", nobody, NEW, Idempotency_Key=key), 403, "permission-denied")

    def test_refusals_are_not_remembered(self, boss: Browser) -> None:
        key = fresh()
        taken, _ = invite_client("clinic")
        expect_problem(by_officer("POST", "/clients", boss, NEW, Idempotency_Key=key), 409, "name-taken")
        models.Client.objects.filter(pk=taken.pk).update(name="renamed")
        assert by_officer("POST", "/clients", boss, NEW, Idempotency_Key=key).status_code == 201

    def test_a_day_later_the_key_is_free(self, boss: Browser) -> None:
        key = fresh()
        by_officer("POST", "/clients", boss, NEW, Idempotency_Key=key)
        models.KeptAnswer.objects.update(created_at="2026-01-01T00:00:00Z")
        expect_problem(by_officer("POST", "/clients", boss, NEW, Idempotency_Key=key), 409, "name-taken")
        housekeeping.tidy()
        assert not models.KeptAnswer.objects.exists()

    @pytest.mark.parametrize("key", ["", "a b", "ü", "x" * 256])
    def test_keys_that_are_none(self, boss: Browser, key: str) -> None:
        refused = by_officer("POST", "/clients", boss, NEW, Idempotency_Key=key)
        expect_problem(refused, 400, "bad-idempotency-key")

    @pytest.mark.django_db(transaction=True)
    def test_at_the_same_time(self) -> None:
        """Eight threads send one POST at once: one client; everybody gets its answer or is told to wait."""
        boss, key, start = officer("boss", superuser=True), fresh(), threading.Barrier(8)

        def one(_: int) -> Any:
            try:
                start.wait()
                return by_officer("POST", "/clients", boss, NEW, Idempotency_Key=key)
            finally:
                connections.close_all()

        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(one, range(8)))
        made = [answer for answer in answers if answer.status_code == 201]
        assert len({answer.content for answer in map(_normal, made)}) == 1
        for answer in answers:
            if answer.status_code != 201:
                expect_problem(answer, 409, "in-flight")
        assert models.Client.objects.count() == 1

    @pytest.mark.django_db(transaction=True)
    def test_while_the_first_is_at_work(self) -> None:
        from ledger.api import idempotency

        boss, key = officer("boss", superuser=True), fresh()
        caller = f"officer:{User.objects.get().pk}"
        name = idempotency.name_of(caller, key)
        with ThreadPoolExecutor(1) as pool, transaction.atomic():
            idempotency.hold(name)
            answer = pool.submit(_and_close, lambda: by_officer("POST", "/clients", boss, NEW, Idempotency_Key=key))
            expect_problem(answer.result(), 409, "in-flight")
        assert by_officer("POST", "/clients", boss, NEW, Idempotency_Key=key).status_code == 201


def _normal(answer: Any) -> Any:
    answer.content = json.dumps(answer.json(), sort_keys=True).encode()
    return answer


def _and_close(function: Any) -> Any:
    try:
        return function()
    finally:
        connections.close_all()


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    few = dict.fromkeys(api_settings.DEFAULT_THROTTLE_RATES, "3/minute")
    monkeypatch.setattr(api_settings, "DEFAULT_THROTTLE_RATES", few)


@pytest.mark.usefixtures("few")
class TestLimits:
    def test_each_client_has_its_own(self, story: Story) -> None:
        one, two = story.party("one", committed=False), story.party("two", committed=False)
        assert [by_client("GET", "/orders", one).status_code for _ in range(4)] == [200, 200, 200, 429]
        refused = by_client("GET", "/orders", one)
        assert "wait" in expect_problem(refused, 429, "too-many-requests")
        assert 0 < int(refused.headers["Retry-After"]) <= 21
        assert by_client("GET", "/orders", two).status_code == 200

    def test_each_officer_has_their_own(self, db: None) -> None:
        ann, bob = officer("ann", superuser=True), officer("bob", superuser=True)
        assert [ann.get(f"{API}/clients").status_code for _ in range(4)][-1] == 429
        assert bob.get(f"{API}/clients").status_code == 200

    def test_guessing_passwords(self, db: None) -> None:
        """After too many wrong ones the right one is not even tried."""
        User.objects.create_superuser("officer", password="a long enough pass phrase")

        def answer(password: str) -> int:
            basic = base64.b64encode(f"officer:{password}".encode()).decode()
            return Browser().get(f"{API}/clients", headers={"Authorization": f"Basic {basic}"}).status_code

        assert [answer("wrong") for _ in range(3)] == [401] * 3
        assert answer("a long enough pass phrase") == 429
        assert officer("ann", superuser=True).get(f"{API}/clients").status_code == 200

    def test_forgetting(self, db: None) -> None:
        rates.spend("public", "somebody")
        models.RateBucket.objects.update(full_until="2026-01-01T00:00:00Z")
        housekeeping.tidy()
        assert not models.RateBucket.objects.exists()

    def test_the_table_costs_no_disk(self, db: None) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT relpersistence FROM pg_class WHERE relname = 'ledger_ratebucket'")
            assert cursor.fetchone() == ("u",)


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("few")
def test_processes_share_one_bucket() -> None:
    """Connections stand for processes: three of twelve requests at once get through, whoever makes them."""
    start = threading.Barrier(12)

    def one(_: int) -> bool:
        start.wait()
        return bool(_and_close(lambda: rates.spend("public", "same") is None))

    with ThreadPoolExecutor(12) as pool:
        assert sum(pool.map(one, range(12))) == 3


class TestDocument:
    def test_it_is_openapi(self, db: None) -> None:
        document = send("GET", "/openapi.json").json()
        assert document["openapi"].startswith("3.1")
        validate(document)
        assert yaml.safe_load(send("GET", "/openapi.yaml").content) == document

    def test_the_copy_in_the_documentation_is_current(self) -> None:
        """`make openapi` writes it."""
        copy = Path(__file__).parents[3] / "docs" / "openapi.yaml"
        assert copy.read_text() == openapi.as_yaml()

    def test_every_operation_says_what_it_refuses_and_how(self) -> None:
        for path, methods in openapi.document()["paths"].items():
            for method, said in methods.items():
                assert said["summary"], (method, path)
                problems = {code: answer for code, answer in said["responses"].items() if code >= "400"}
                assert {"400", "429", "500"} <= set(problems), (method, path)
                assert all(set(answer["content"]) == {"application/problem+json"} for answer in problems.values())
                assert "security" in said

    def test_the_page_loads_nothing_from_elsewhere(self, db: None, settings: LazySettings) -> None:
        page = send("GET", "/docs")
        assert page.headers["Content-Security-Policy"].startswith("default-src 'self'")
        text = page.content.decode()
        assert not any(part in text for part in ("http://", "https://", "<script>", " style="))
        for line in text.splitlines():
            if "/static/" in line:
                address = next(part for part in line.split('"') if "/static/" in part)
                found = Browser().get(address)
                found.close()
                assert found.status_code == 200, address
