"""Long polling: clients hear of their own events, as they happen, and waiting never takes the server's threads."""

from __future__ import annotations

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.conf import LazySettings
from django.db import connection, connections, transaction

from ledger.api import waiting
from ledger.models import Event, Order
from ledger.workflow import events, proofs
from tests.ledger.api.parts import by_client
from tests.ledger.story import Party, Story, verdict
from tests.ledger.test_api import expect_problem


def heard(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.content
    return [each["kind"] for each in answer.json()["items"]]


def test_an_orders_life_and_nobody_elses(story: Story) -> None:
    one, two = story.party("one"), story.party("two")
    window = story.masked_window()
    order = Order.objects.get(window=window, client_model__client=one.row)
    proof = story.proved(one, order)
    proofs.record_verdict(proof.uuid, verdict(accepted=False))
    proofs.record_verdict(story.proved(one, order, 2).uuid, verdict())
    path = f"/orders/{order.uuid}/events"
    whole = by_client("GET", path, one)
    attempt = ["order.claimed", "order.challenged", "order.proved"]
    assert heard(whole) == ["order.issued", *attempt, "order.rejected", *attempt, "order.met"]
    items = whole.json()["items"]
    assert heard(by_client("GET", f"{path}?after={items[6]['id']}&wait=25", one)) == ["order.proved", "order.met"]
    assert by_client("GET", f"{path}?after={items[8]['id']}", one).json() == {"items": [], "last": items[8]["id"]}
    expect_problem(by_client("GET", path, two), 404, "not-found")
    expect_problem(by_client("GET", f"/orders/{uuid.uuid4()}/events", one), 404, "not-found")
    everything = by_client("GET", "/me/events", two)
    own = set(Event.objects.filter(client=two.row.pk).values_list("pk", flat=True))
    assert {each["id"] for each in everything.json()["items"]} == own
    assert heard(everything)[-1] == "order.issued"


def test_officers_are_not_named(story: Story) -> None:
    """Who suspended a client, and why, is the provider's own affair."""
    party = story.party(committed=False)
    events.record("client.suspended", client=party.uuid, data={"reason": "a secret"})
    answer = by_client("GET", "/me/events", party)
    assert heard(answer)[-1] == "client.suspended"
    assert not {"actor", "data"} & set(answer.json()["items"][-1])


@pytest.mark.parametrize("query", ["wait=31", "wait=-1", "after=-1", "after=x", "after=9223372036854775808"])
def test_questions_that_cannot_be(story: Story, query: str) -> None:
    expect_problem(by_client("GET", f"/me/events?{query}", story.party(committed=False)), 422, "bad-filter")


def _asking(party: Party, after: int, seconds: int) -> Any:
    try:
        return by_client("GET", f"/me/events?after={after}&wait={seconds}", party)
    finally:
        connections.close_all()


@pytest.mark.django_db(transaction=True)
def test_waiting_has_limits_and_ends_with_news(
    story: Story, settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One waits without a transaction; its second request and another client are answered at once; news come."""
    settings.LEDGER_WAITING_REQUESTS = 1
    one, two = story.party("one", committed=False), story.party("two", committed=False)
    last = Event.objects.latest("pk").pk
    inside = threading.Event()
    look_around = waiting.until

    def seen(look: Any, seconds: float) -> Any:
        inside.set()
        return look_around(look, seconds)

    monkeypatch.setattr(waiting, "until", seen)
    with ThreadPoolExecutor(1) as pool:
        waits = pool.submit(_asking, one, last, 30)
        assert inside.wait(20)
        for party in (one, two):
            refused = by_client("GET", f"/me/events?after={last}&wait=30", party)
            assert (refused.json(), refused.headers["Retry-After"]) == ({"items": [], "last": last}, "5")
        assert not waits.done()
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
                "AND pid <> pg_backend_pid() AND state LIKE 'idle in transaction%%'"
            )
            assert cursor.fetchone() == (0,)
        for party in (two, one):  # the first is another's: no reason to answer
            with transaction.atomic():
                events.record("client.suspended", client=party.uuid)
        answer = waits.result(timeout=20)
    (heard_of,) = answer.json()["items"]
    assert heard_of["id"] == Event.objects.get(kind="client.suspended", client=one.row.pk).pk
    free = by_client("GET", f"/me/events?after={answer.json()['last']}&wait=1", one)
    assert (heard(free), "Retry-After" in free.headers) == ([], False)  # the place is free again
