"""A person asks to be forgotten, and every copy of the model forgets.

The promise: one request, approved by an officer, becomes one order for every client that holds a copy. Each client
obeys on its own machine and proves it. The person gets a certificate that names every client, and anybody can check
all of it without asking the provider again. Nothing that leaves the provider says who asked.
"""

import json

import pytest

from tests.stories.provider import SUBJECT, audit
from tests.stories.reading import predicate, predicates

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def provider(found_provider):
    """A provider with one model only: a request is fulfilled when it is on all that were made of its data."""
    with found_provider() as provider:
        yield provider


@pytest.fixture(scope="module")
def officer(provider):
    with provider.officer() as officer:
        yield officer


@pytest.fixture(scope="module")
def story(provider, officer, model, new_client):
    clients = [new_client(), new_client()]
    for number, client in enumerate(clients):
        client.join(provider, officer, f"Clinic {number}")
    request = officer.file_request()
    officer.approve(request)
    window = officer.close_window(model, request)
    said = [client.call("run") for client in clients]
    officer.await_window(window, "settled")
    officer.post(f"windows/{window}/certify")
    return clients, said, officer.get(f"windows/{window}"), officer.fetch(f"windows/{window}/bundle"), request


def test_every_client_obeys_and_its_proof_is_accepted(story):
    clients, said, window, *_ = story
    assert [order["state"] for order in window["orders"]] == ["met", "met"]
    for text in said:
        assert "accepted at log index" in text
    for client in clients:
        assert (client.attempt() / "unlearned.safetensors").exists()


def test_the_request_is_fulfilled_by_a_certificate_that_names_all_clients(story, officer):
    clients, _, window, bundle, request = story
    assert officer.get(f"requests/{request}")["state"] == "fulfilled"
    assert len(window["certificates"]) == 1
    certificate = predicate(bundle, window["certificates"][0]["index"])
    assert sorted(item["client"] for item in certificate["outcomes"]) == sorted(client.handle for client in clients)


def test_anybody_can_check_it_without_the_server(story, provider, tmp_path):
    log_vkey, provider_key = provider.public_keys
    status, said = audit(story[3], tmp_path / "bundle.zip", log_vkey=log_vkey, provider_key=provider_key)
    assert status == 0, said
    assert "everything that was checked holds" in said


def test_nobody_outside_learns_who_asked(story, provider):
    assert SUBJECT.encode() not in story[3]
    assert SUBJECT not in json.dumps(list(predicates(story[3])))
    assert SUBJECT not in "".join(path.read_text(errors="replace") for path in provider.data.rglob("*.log"))


def test_the_log_and_every_table_agree(story, provider):
    provider.manage("fsck")
