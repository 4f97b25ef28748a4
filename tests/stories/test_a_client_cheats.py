"""A client says it obeyed and did not.

The promise: the proof does not verify, the verdict names what failed, and stands in the log for good. The client
may try again, honestly; the certificate tells of both, and of nothing as met that was not.
"""

import pytest

from tests.stories.nursery import await_that
from tests.stories.provider import audit

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def story(provider, officer, model, new_client):
    """One client keeps cheating; another shifts one weight by one grid step, is caught, and thinks better of it."""
    stubborn, penitent = new_client(), new_client()
    for client, name in ((stubborn, "Stubborn"), (penitent, "Penitent")):
        client.join(provider, officer, name)
    request = officer.file_request()
    officer.approve(request)
    window = officer.close_window(model, request)
    caught = [
        stubborn.call("run", cheat="skip", expect=1),
        penitent.call("run", cheat="nudge", expect=1),
    ]
    again = penitent.call("run", "--again")
    return stubborn, penitent, window, caught, again


def test_the_cheats_are_caught_and_the_chunks_named(story):
    *_, caught, _ = story
    for said in caught:
        assert "rejected at log index" in said
        assert "  chunk 0: the proof does not show the prescribed relation" in said


def test_an_honest_second_attempt_is_accepted(story):
    assert "accepted at log index" in story[-1]


def test_a_rejected_client_has_no_model_to_deploy(story):
    stubborn, penitent, *_ = story
    assert not (stubborn.attempt(1) / "unlearned.safetensors").exists()
    assert not (penitent.attempt(1) / "unlearned.safetensors").exists()
    assert (penitent.attempt(2) / "unlearned.safetensors").exists()


def test_the_officer_sees_who_did_what(story, officer):
    stubborn, penitent, window, *_ = story
    orders = {order["client"]: order for order in officer.get(f"windows/{window}")["orders"]}
    assert (orders[stubborn.handle]["state"], orders[stubborn.handle]["attempt"]) == ("rejected", 1)
    assert (orders[penitent.handle]["state"], orders[penitent.handle]["attempt"]) == ("met", 2)


def test_a_watching_agent_does_not_try_again_by_itself(story):
    """It would only open the committed columns once more."""
    watch = story[0].start("watch")
    await_that(lambda: "was rejected; `run --again` makes another one" in watch.text, 60.0, lambda: watch.text)
    watch.kill(15)
    assert watch.wait() == 0
    assert not (story[0].attempt(1).parent / "2").exists()


def test_an_outsider_sees_both_attempts(story, officer, provider, tmp_path):
    log_vkey, provider_key = provider.public_keys()
    bundle = officer.fetch(f"windows/{story[2]}/bundle")
    status, said = audit(bundle, tmp_path / "bundle.zip", log_vkey=log_vkey, provider_key=provider_key)
    assert status == 0, said
    assert said.count("failures, as the log's verdict says") == 2
    assert said.count(": accepted, as the log's verdict says") == 1
