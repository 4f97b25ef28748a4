"""Lists of what was recorded: jobs, events, certificates, proofs, log entries; the log's health."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.db import connections, transaction
from django.test import Client as Browser
from django.utils import timezone

from ledger import log, models, queue
from ledger.workflow import certificates, events, proofs
from ledger.workflow.actors import Actor
from tests.ledger.api.parts import API, by_client, by_officer, officer
from tests.ledger.story import Story, verdict
from tests.ledger.test_api import expect_problem, send


@pytest.fixture
def boss(db: None) -> Browser:
    return officer("boss", superuser=True)


def items(browser: Browser, path: str) -> list[dict[str, Any]]:
    answer = browser.get(API + path)
    assert answer.status_code == 200, answer.content
    return list(answer.json()["items"])


def test_jobs_and_starting_one_anew(story: Story, boss: Browser) -> None:
    story.party()
    window = story.closed_window()
    (job,) = items(boss, f"/jobs?target={window.uuid}&kind=mask&state=queued")
    address = f"/jobs/{job['uuid']}"
    expect_problem(by_officer("POST", f"{address}/retry", boss), 409, "not-failed")
    queue.fail(job["uuid"], "out of memory")
    shown = boss.get(API + address)
    assert (shown.json()["state"], shown.json()["error"]) == ("failed", "out of memory")
    again = by_officer("POST", f"{address}/retry", boss, If_Match=shown.headers["ETag"])
    assert again.json()["state"] == "queued"
    expect_problem(by_officer("POST", f"{address}/retry", boss, If_Match=shown.headers["ETag"]), 412, "stale")


def test_certificates_and_proofs(story: Story, boss: Browser) -> None:
    one, two = story.party("one"), story.party("two")
    window = story.masked_window()
    for party, good in ((one, True), (two, False)):
        proof = story.proved(party, window.orders.get(client_model__client=party.row))
        proofs.record_verdict(proof.uuid, verdict(accepted=good))
    assert len(items(boss, f"/proofs?window={window.uuid}")) == 2
    (accepted,) = items(boss, "/proofs?accepted=true")
    assert (accepted["client"], accepted["verdict"]["result"]) == (one.uuid, "accepted")
    (own,) = by_client("GET", "/proofs", two).json()["items"]
    assert own["verdict"]["failures"] == [{"chunk": 1, "reason": "chunk 1: the relation does not hold"}]
    assert by_client("GET", f"/proofs?client={one.uuid}", two).json()["items"] == []
    certificates.certify(window.uuid)
    (certificate,) = items(boss, f"/certificates?window={window.uuid}")
    assert certificate["request"] == str(window.requests.get().uuid)
    assert items(boss, f"/certificates?complete={'false' if certificate['complete'] else 'true'}") == []


def test_the_log_is_listed(story: Story) -> None:
    party = story.party()
    kinds = [line["predicateType"].split(":")[-2] for line in send("GET", "/log/entries").json()["items"]]
    assert kinds == ["circuit-release", "model-release", "client-enrolment", "model-commitment"]
    (line,) = send("GET", "/log/entries?kind=client-enrolment").json()["items"]
    assert line["index"] == 2
    assert len(send("GET", f"/log/entries?signer={line['signer']}").json()["items"]) == 2
    assert send("GET", "/log/entries?kind=client").json()["items"] == []
    first = send("GET", "/log/entries?limit=3").json()
    assert [line["index"] for line in Browser().get(first["next"]).json()["items"]] == [3]
    assert party.row.name not in str(first)


def test_the_logs_health(story: Story) -> None:
    del story
    shown = send("GET", "/log/health").json()
    assert (shown["publishedSize"], shown["alarm"], shown["lastCheck"]) == (None, False, None)
    log.publish_checkpoint()
    models.FsckRun.objects.create(started_at=timezone.now(), seconds=0.5, entries=2)
    assert send("GET", "/log/health").json()["lastCheck"]["problem"] is None
    models.FsckRun.objects.create(started_at=timezone.now(), seconds=0.5, entries=2, problem="entry 1 was altered")
    shown = send("GET", "/log/health").json()
    assert (shown["publishedSize"], shown["alarm"]) == (2, True)
    assert shown["lastCheck"]["problem"] == "entry 1 was altered"


def test_officers_follow_everything(story: Story, boss: Browser) -> None:
    party = story.party()
    events.record("client.invited", actor=Actor("officer", "7", "ada"), client=party.uuid)
    answer = boss.get(f"{API}/events?client={party.uuid}").json()
    assert answer["items"][-1]["actor"] == {"kind": "officer", "name": "ada"}
    assert answer["last"] == answer["items"][-1]["id"]
    assert boss.get(f"{API}/events?after={answer['last']}").json() == {"items": [], "last": answer["last"]}
    assert {event["kind"] for event in items(boss, "/events?kind=client.enrolled")} == {"client.enrolled"}
    expect_problem(officer("nobody").get(f"{API}/events"), 403, "permission-denied")
    expect_problem(by_client("GET", "/events", party), 401, "not-authenticated")


@pytest.mark.parametrize("query", ["after=-1", "wait=31", "wait=x", "kind=A", "after=99999999999999999999"])
def test_what_cannot_be_asked(boss: Browser, query: str) -> None:
    expect_problem(boss.get(f"{API}/events?{query}"), 422, "bad-filter")


@pytest.mark.django_db(transaction=True)
def test_officers_wait(tmp_path: Path) -> None:
    party, boss = Story(tmp_path).party(committed=False), officer("boss", superuser=True)
    last = boss.get(f"{API}/events").json()["last"]
    asked = threading.Event()

    def wait() -> Any:
        try:
            asked.set()
            return boss.get(f"{API}/events?after={last}&wait=20").json()["items"]
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(wait)
        asked.wait()
        time.sleep(0.2)
        with transaction.atomic():
            events.record("client.invited", client=party.uuid)
        (event,) = answer.result()
    assert event["kind"] == "client.invited"
