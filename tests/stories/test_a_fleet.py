"""Twelve clients of different temper obey one order at the same time.

The promise: whoever is quick, slow, switched off half-way, dishonest, gone, or changes its key in the middle,
nothing is lost. Every order ends, the certificate lists them all, the log and every table agree, and nobody ever
sees what is another's.

Four watch from the beginning. Of the others one goes step by step, one comes late, two lose their power, one
cheats, one is never heard of again and one changes its key between claim and proof.
"""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from signal import SIGTERM

import httpx2
import pytest

from ledger.statements import keys
from ledger.statements.deadlines import add_months
from ledger.statements.httpsig import client_hooks
from tests.stories.client import Client
from tests.stories.nursery import await_that
from tests.stories.provider import audit
from tests.stories.reading import predicate, predicates

pytestmark = pytest.mark.slow

CLIENTS, WATCHERS = 12, 4
BY_HAND, LATE, CUT_EARLY, CUT_LATE, CHEAT, GONE, ROTATES, TWO_JOBS = range(WATCHERS, CLIENTS)
DUE_IN = timedelta(seconds=30)


def kill_at(client: Client, stage: str) -> None:
    """Run until a stage is reported, and pull the plug."""
    process = client.start("run")
    await_that(lambda: stage in process.text, 150.0, lambda: process.text[-2000:])
    process.kill()
    assert process.wait() == -9


def by_hand(client: Client) -> None:
    for step in ("unlearn", "prove", "submit"):
        client.call(step)


def loses_power_before_its_claim(client: Client) -> None:
    kill_at(client, '"compensating"')
    client.call("run")


def loses_power_while_it_proves(client: Client) -> None:
    kill_at(client, '"proving", "done": 1')
    proofs = {path.name: path.stat().st_mtime_ns for path in client.attempt().glob("proofs-*/*")}
    client.call("run")
    assert proofs
    now = {path.name: path.stat().st_mtime_ns for path in client.attempt().glob("proofs-*/*")}
    assert proofs.items() <= now.items()


def cheats(client: Client) -> None:
    client.call("run", cheat="nudge", expect=1)


def has_two_processors(client: Client) -> None:
    client.call("run", options=("--jobs", "2"))


def rotates_its_key(client: Client) -> None:
    client.call("unlearn")
    client.call("keys", "rotate")
    client.call("prove")
    client.call("submit")


TEMPERS = {
    BY_HAND: by_hand,
    CUT_EARLY: loses_power_before_its_claim,
    CUT_LATE: loses_power_while_it_proves,
    CHEAT: cheats,
    ROTATES: rotates_its_key,
    TWO_JOBS: has_two_processors,
}


@pytest.fixture(scope="module")
def clients(provider, officer, model, new_client):
    """All of them, enrolled and committed, four at a time."""
    made = [new_client() for _ in range(CLIENTS)]
    with ThreadPoolExecutor(4) as threads:
        joining = [
            threads.submit(client.join, provider, officer, f"Fleet {number}") for number, client in enumerate(made)
        ]
        for joined in joining:
            joined.result()
    return made


@pytest.fixture(scope="module")
def story(clients, officer, model):
    """The request, the window, and what became of it; certified once all orders have ended or are overdue."""
    watching = [client.start("watch") for client in clients[:WATCHERS]]
    received = add_months(datetime.now(UTC) + DUE_IN, -1)
    request = officer.file_request(receivedAt=received.isoformat())
    officer.approve(request)
    window = officer.close_window(model, request)
    with ThreadPoolExecutor(len(TEMPERS)) as threads:
        going = [threads.submit(temper, clients[number]) for number, temper in TEMPERS.items()]
        for gone in going:
            gone.result()
    clients[LATE].call("run")
    await_that(lambda: states(officer, window).count("met") == CLIENTS - 2, 150.0, lambda: states(officer, window))
    ended = []
    for watcher in watching:
        watcher.kill(SIGTERM)
        ended.append((watcher.wait(), watcher.text))
    due = datetime.fromisoformat(officer.get(f"windows/{window}")["orders"][0]["dueAt"])
    await_that(lambda: datetime.now(UTC) > due + timedelta(seconds=1), 60.0, lambda: due)
    officer.post(f"windows/{window}/certify")
    return {
        "window": officer.get(f"windows/{window}"), "request": officer.get(f"requests/{request}"),
        "bundle": officer.fetch(f"windows/{window}/bundle"), "ended": ended,
    }  # fmt: skip


def states(officer, window):
    return [order["state"] for order in officer.get(f"windows/{window}")["orders"]]


def test_every_order_ends_as_its_client_deserves(story, clients):
    found = {order["client"]: (order["state"], order["attempt"]) for order in story["window"]["orders"]}
    expected = dict.fromkeys((client.handle for client in clients), ("met", 1))
    expected[clients[CHEAT].handle] = ("rejected", 1)
    expected[clients[GONE].handle] = ("issued", 0)
    assert found == expected


def test_whoever_watched_stopped_cleanly(story):
    for status, said in story["ended"]:
        assert status == 0
        assert "accepted; the model to deploy is" in said


def test_the_certificate_lists_them_all(story, clients):
    certificate = predicate(story["bundle"], story["window"]["certificates"][0]["index"])
    outcomes = {outcome["client"]: outcome["status"] for outcome in certificate["outcomes"]}
    assert set(outcomes) == {client.handle for client in clients}
    assert outcomes.pop(clients[CHEAT].handle) == "rejected"
    assert outcomes.pop(clients[GONE].handle) == "unanswered"
    assert set(outcomes.values()) <= {"met", "met-late"}


def test_nothing_is_lost(story, provider):
    """Log, tables and files agree; every entry follows from those before."""
    provider.manage("fsck")


def test_an_outsider_finds_the_same(story, provider, tmp_path):
    log_vkey, provider_key = provider.public_keys
    status, said = audit(story["bundle"], tmp_path / "b.zip", log_vkey=log_vkey, provider_key=provider_key)
    assert status == 0, said
    assert said.count(": accepted, ") == CLIENTS - 2
    assert said.count(": rejected, ") == 1


def test_nobody_sees_what_is_anothers(story, clients, provider):
    """Each asks, with a good signature, for what its neighbour has: orders, commitments, claims, proofs."""
    orders = {order["client"]: order["uuid"] for order in story["window"]["orders"]}
    files = {client.handle: blobs_of(story["bundle"], client.handle) for client in clients}
    for client, neighbour in zip(clients, [*clients[1:], clients[0]], strict=True):
        key = keys.load_private(client.state / "key.pem")
        hooks = client_hooks(provider.address, key).event_hooks
        with httpx2.Client(base_url=f"{provider.address}/api/v1/", event_hooks=hooks, timeout=60) as signed:
            assert {order["uuid"] for order in signed.get("orders").json()["items"]} == {orders[client.handle]}
            assert signed.get(f"orders/{orders[client.handle]}").status_code == 200
            assert signed.get(f"orders/{orders[neighbour.handle]}").status_code == 404
            assert signed.get(f"blobs/{files[client.handle][0]}").status_code == 200
            for digest in files[neighbour.handle]:
                assert signed.get(f"blobs/{digest}").status_code == 404
            assert signed.get(f"windows/{story['window']['uuid']}").status_code in {401, 403}


def test_what_the_tables_say_the_api_says(story, provider, officer):
    window, request = story["window"]["uuid"], story["request"]["uuid"]
    code = (
        "import json; from ledger.models import *; print(json.dumps({'orders': {str(order.uuid): "
        f"[order.state, order.attempt] for order in Order.objects.filter(window__uuid='{window}')}}, "
        f"'window': Window.objects.get(uuid='{window}').state, "
        f"'request': DeletionRequest.objects.get(uuid='{request}').state}}))"
    )
    said = json.loads(provider.manage("shell", "--no-imports", "-c", code).splitlines()[-1])
    assert said["orders"] == {
        order["uuid"]: [order["state"], order["attempt"]] for order in story["window"]["orders"]
    }
    assert said["window"] == story["window"]["state"] == "certified"
    assert said["request"] == officer.get(f"requests/{story['request']['uuid']}")["state"]


def blobs_of(bundle, handle):
    """Digests of all files that a client's statements in the bundle name."""
    found = []
    for said in predicates(bundle):
        if said.get("client") == handle:
            found += [value for name, value in said.items() if name in {
                "weightsSha256", "curvatureSha256", "solutionSha256", "bundleSha256",
            }]  # fmt: skip
    return found
