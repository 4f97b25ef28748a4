"""A provider orders something that would ruin a client's model.

The promise: before anything is logged, the client measures on its own data what obeying would cost. Beyond its own
limit it refuses and says the figures. It can insist, and the folder remembers that it did.
"""

import json

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def harsh_model(provider, global_model):
    """A model whose windows mask 45 % of its weights."""
    return provider.register_model(global_model, "harsh", budget=0.45)


@pytest.fixture(scope="module")
def client(provider, officer, harsh_model, new_client):
    client = new_client()
    client.join(provider, officer, "Clinic Careful", "--max-drop", "1")
    return client


@pytest.fixture(scope="module")
def refused(client, officer, harsh_model):
    request = officer.file_request()
    officer.approve(request)
    window = officer.close_window(harsh_model, request)
    return window, client.call("unlearn", expect=3)


def test_the_order_is_refused_with_the_figures(client, refused):
    _, said = refused
    damage = json.loads((client.attempt() / "damage.json").read_text())
    assert damage["drop"] > 1 == damage["maxDrop"]
    assert not damage["forced"]
    assert f"a drop of {damage['drop']:.1f} points; the limit is 1, so nothing was claimed" in said
    assert "class 8 left out" in said  # what is to be forgotten does not count as damage


def test_nothing_was_logged(refused, officer):
    (order,) = officer.get(f"windows/{refused[0]}")["orders"]
    assert (order["state"], order["attempt"]) == ("issued", 0)


def test_watching_leaves_a_refused_order_alone(client, refused):
    watch = client.start("watch")
    try:
        said = wait_for_line(watch, "refused: accuracy on")
        assert said.count("refused") == 1
    finally:
        watch.kill(15)
    assert watch.wait() == 0


def test_the_client_may_say_why_and_the_officer_sees_it(client, refused, officer):
    """A code in the log, signed by the client; nothing of the model or the data. The order stands."""
    (order,) = officer.get(f"windows/{refused[0]}")["orders"]
    assert order["objection"] is None
    said = client.call("object", "--order", order["uuid"], "--reason", "damage")
    (order,) = officer.get(f"windows/{refused[0]}")["orders"]
    assert order["objection"]["reason"] == "damage"
    assert said.strip().endswith(f"at log index {order['objection']['ref']['index']}")
    assert order["state"] == "issued"


def test_the_client_may_insist_and_that_is_remembered(client, refused, officer):
    client.call("unlearn", "--force")
    damage = json.loads((client.attempt() / "damage.json").read_text())
    assert damage["forced"]
    assert "accepted at log index" in client.call("run")
    assert officer.await_window(refused[0], "settled")["orders"][0]["state"] == "met"


def test_a_limit_for_one_run_is_not_kept(client, refused):
    assert json.loads((client.state / "agent.json").read_text())["maxDrop"] == 1


def wait_for_line(process, wanted):
    from tests.stories.nursery import await_that

    await_that(lambda: wanted in process.text, 60.0, lambda: process.text)
    return process.text
