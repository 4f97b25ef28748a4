"""A client does not answer.

The promise: silence is seen. The client is reminded, officers are told, and once the window's policy says so it
gets no more orders. A certificate says `unanswered` where nobody answered and `excepted` where an officer released
somebody for a reason; it never says more than that. Who comes back is taken back.
"""

from datetime import UTC, datetime, timedelta

import pytest

from ledger.statements.deadlines import add_months
from tests.stories.nursery import await_that
from tests.stories.reading import predicate

pytestmark = pytest.mark.slow
DUE_IN = timedelta(seconds=60)  # enough for the mask, and for the one that answers in time


@pytest.fixture(scope="module")
def clients(provider, officer, model, new_client):
    """One obeys, one is silent, one is released."""
    made = [new_client() for _ in range(3)]
    for client, name in zip(made, ("Prompt", "Silent", "Released"), strict=True):
        client.join(provider, officer, name)
    return made


@pytest.fixture(scope="module")
def story(clients, officer, model):
    prompt, silent, released = clients
    officer.put(f"models/{model}/policy", escalateDaysAfter=0, suspendDaysAfter=0)
    received = add_months(datetime.now(UTC) + DUE_IN, -1)
    request = officer.file_request(receivedAt=received.isoformat())
    officer.approve(request)
    window = officer.close_window(model, request)
    orders = {order["client"]: order["uuid"] for order in officer.get(f"windows/{window}")["orders"]}
    officer.post(f"window-orders/{orders[released.handle]}/except", reason="model-not-in-use")
    prompt.call("run")

    def noticed():
        shown = officer.get(f"window-orders/{orders[silent.handle]}")
        return {"overdue", "escalated", "suspended"} <= {notice["key"] for notice in shown["notices"]}

    await_that(noticed, 120.0, lambda: officer.get(f"window-orders/{orders[silent.handle]}"))
    return window, orders


def test_officers_are_told_of_the_silent_client_alone(story, clients, officer):
    _, orders = story
    _, silent, _ = clients
    escalated = {order["uuid"] for order in officer.get("window-orders?escalated=true")["items"]}
    assert orders[silent.handle] in escalated
    assert not escalated & (set(orders.values()) - {orders[silent.handle]})
    kinds = [event["kind"] for event in officer.get(f"window-orders/{orders[silent.handle]}")["timeline"]]
    assert kinds[0] == "order.issued"
    assert {"order.overdue", "order.escalated"} <= set(kinds)


def test_the_certificate_says_who_did_what_and_who_did_nothing(story, clients, officer):
    window, _ = story
    officer.post(f"windows/{window}/certify")
    bundle = officer.fetch(f"windows/{window}/bundle")
    index = officer.get(f"windows/{window}")["certificates"][0]["index"]
    outcomes = {item["client"]: item["status"] for item in predicate(bundle, index)["outcomes"]}
    prompt, silent, released = (client.handle for client in clients)
    assert outcomes.pop(prompt) in {"met", "met-late"}
    assert outcomes == {silent: "unanswered", released: "excepted"}


def test_a_suspended_client_gets_no_more_orders_until_it_is_back(story, clients, officer, model):
    prompt, silent, _ = clients
    prompt.call("commit", *prompt.committing[1:], "--anew", "--zero")
    request = officer.file_request(subject="another@example.org")
    officer.approve(request)
    window = officer.close_window(model, request)
    ordered = {order["client"] for order in officer.get(f"windows/{window}")["orders"]}
    assert prompt.handle in ordered
    assert silent.handle not in ordered
    assert officer.post(f"clients/{silent.handle}/reinstate")["lifted"] is not None


def test_log_and_tables_agree(story, provider):
    provider.manage("fsck")
