"""A provider, or somebody between it and a client, does not tell the truth.

The promise: the client believes nothing that the log does not show. It pins keys at enrolment, remembers the last
checkpoint, and checks every order, mask and challenge before it touches a weight. What does not hold is refused
with a sentence that says what, and nothing is sent.
"""

import json

import pytest

from tests.stories.proxy import Answer, Proxy

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def proxy(provider):
    with Proxy(provider.port) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def client(provider, officer, model, new_client, proxy):
    """A client with an order to carry out."""
    client = new_client()
    client.join(provider, officer, "Clinic Wary", address=proxy.address)
    request = officer.file_request()
    officer.approve(request)
    officer.close_window(model, request)
    return client


@pytest.fixture
def lie(proxy):
    """Set what happens to the server's answers."""

    def set_to(change):
        proxy.after = change

    yield set_to
    proxy.after = lambda _request, answer: answer


def refusal(client, proxy):
    """What the client says, having sent no statement."""
    before = len(proxy.requests)
    said = client.call("run", expect=2)
    assert not any(request.states for request in proxy.requests[before:])
    return said


def test_a_history_that_was_rewritten(client, proxy, lie):
    """A checkpoint whose tree is not an extension of the one that this client saw last."""

    def rewritten(request, answer):
        if "/log/consistency" in request.path:
            proof = json.loads(answer.body)
            proof["proof"] = proof["proof"][1:]
            return Answer(200, json.dumps(proof).encode(), answer.headers)
        return answer

    lie(rewritten)
    assert "does not check out" in refusal(client, proxy)


def test_another_mask_file_than_the_logged_one(client, proxy, lie):
    def other_mask(request, answer):
        if request.method == "GET" and "/blobs/" in request.path:
            return Answer(200, answer.body[:-1] + bytes([answer.body[-1] ^ 1]), answer.headers)
        return answer

    lie(other_mask)
    assert "the ledger sent other bytes than those of SHA-256" in refusal(client, proxy)


def test_an_entry_that_is_not_in_the_log(client, proxy, lie):
    def forged(request, answer):
        if "/log/entries/" in request.path and request.path.split("?")[0].split("/")[-1].isdigit():
            entry = json.loads(answer.body)
            entry["envelope"] = entry["envelope"].replace("A", "B", 1)
            return Answer(200, json.dumps(entry).encode(), answer.headers)
        return answer

    lie(forged)
    assert "is not the one the ledger referred to; tell an auditor" in refusal(client, proxy)


def test_a_checkpoint_that_the_log_did_not_sign(client, proxy, lie):
    def unsigned(request, answer):
        if "/log/entries/" in request.path:
            entry = json.loads(answer.body)
            lines = entry["checkpoint"].splitlines()
            entry["checkpoint"] = "\n".join([lines[0], str(int(lines[1]) + 1), *lines[2:]]) + "\n"
            return Answer(200, json.dumps(entry).encode(), answer.headers)
        return answer

    lie(unsigned)
    assert "a checkpoint does not check out" in refusal(client, proxy)


def test_an_order_under_another_name(client, proxy, lie):
    """The name would become a path in the client's folder, and stand for an order that the log does not have."""
    other, shown = "00000000-0000-4000-8000-000000000000", []

    def renamed(request, answer):
        if request.path.split("?")[0].endswith("/orders"):
            listed = json.loads(answer.body)
            listed["items"] = [order | {"uuid": other} for order in listed["items"]]
            shown[:] = listed["items"]
            return Answer(200, json.dumps(listed).encode(), answer.headers)
        if other in request.path:
            return Answer(200, json.dumps(shown[0]).encode(), answer.headers)
        return answer

    lie(renamed)
    assert "by another name" in refusal(client, proxy)


@pytest.mark.parametrize("name", ["../../../tmp/x", 7, None])
def test_an_order_that_is_none(client, proxy, lie, name):
    def nonsense(request, answer):
        if request.path.split("?")[0].endswith("/orders"):
            listed = json.loads(answer.body)
            listed["items"] = [{"uuid": name, "state": "issued"}]
            return Answer(200, json.dumps(listed).encode(), answer.headers)
        return answer

    lie(nonsense)
    said = refusal(client, proxy)
    assert "the ledger sent an order that is none" in said
    assert "Traceback" not in said


def test_other_keys_than_those_published(provider, officer, new_client):
    """Who knows the provider's keys from elsewhere does not enrol with an impostor."""
    client = new_client()
    said = client.call(
        *client.invited(officer, "Clinic Strict", provider.address), "--provider-key", "ab" * 32, expect=2
    )
    assert "do not enrol there" in said
    assert not (client.state / "agent.json").exists()


def test_with_the_truth_the_same_order_is_carried_out(client):
    assert "accepted at log index" in client.call("run")
