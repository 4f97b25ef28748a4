"""Every process is killed at every step at which it has something to do, and at some at which others do.

The promise: whoever was killed is started again by somebody, and everything goes on by itself. Nothing that anybody
was told is lost, nothing is done twice, and the log and all tables hold (fsck).
"""

import pytest

pytestmark = pytest.mark.faults


def killing(house, name, *steps):
    return dict.fromkeys(steps, lambda _walk: house.kill(name))


def test_nothing_goes_wrong(house, walk):
    """The story itself, so that what fails below fails for its fault."""
    walk(house, "nothing", {})


def test_the_web_server(house, walk):
    steps = (
        "committing",
        "committed",
        "filed",
        "closed",
        "claiming",
        "claimed",
        "uploading",
        "proved",
        "verifying",
    )
    walk(house, "kill -9 web", killing(house, "web", *steps, "settled"))


def test_the_worker_that_publishes_and_draws_challenges(house, walk):
    steps = ("committed", "filed", "closed", "claimed", "challenging", "proved", "settled")
    walk(house, "kill -9 ledger worker", killing(house, "ledger", *steps))


def test_the_worker_that_masks_and_verifies(house, walk):
    steps = ("closed", "masking", "claiming", "proved", "verifying")
    walk(house, "kill -9 prover worker", killing(house, "prover", *steps))


def test_a_publisher_before_and_after_a_witness_has_signed(house, walk):
    """Whoever asks a witness, web or worker, dies: once before it is asked, once before its answer is heard."""
    left = []

    def kill_all(when):
        if when in left:
            left.remove(when)
            for name in ("ledger", "web", "prover"):
                house.kill(name)

    house.witness_proxy.before = lambda _request: kill_all("before")
    house.witness_proxy.after = lambda _request, answer: kill_all("after") or answer
    try:
        again = ("before", "after")
        at = dict.fromkeys(("committed", "closed", "claimed"), lambda _walk: left.extend(again))
        walk(house, "kill -9 publisher with a witness", at)
    finally:
        house.witness_proxy.before = lambda _request: None
        house.witness_proxy.after = lambda _request, answer: answer
    assert left == []


def test_the_witness(house, walk):
    walk(house, "kill -9 witness", killing(house, "witness", "committed", "closed", "claimed", "proved"))


def test_the_clients_command(house, walk):
    steps = ("committing", "committed", "claiming", "claimed", "uploading", "proving", "proved")
    walk(house, "kill -9 agent", dict.fromkeys(steps, lambda walk: walk.agent.kill()))


def test_everything_at_once(house, walk):
    """The power of the whole house fails, database and broker included."""

    def all_dark(_walk):
        for name in ("web", "ledger", "prover", "witness", "database", "broker"):
            house.kill(name)

    walk(house, "power failure", dict.fromkeys(("committed", "masking", "claimed", "verifying"), all_dark))
