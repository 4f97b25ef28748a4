"""Two officers must agree before anything is forgotten.

The promise: where policy says so, no single officer can have a model changed: not by filing and approving alone,
not by approving twice, and not by closing a window over it. Who approved is shown to officers, and stands in no
leaf.
"""

import json

import pytest

from tests.stories.provider import FORGOTTEN_CLASS, OFFICERS, RefusedError

pytestmark = pytest.mark.slow
REGULATION = "lgpd"  # no other story uses it


@pytest.fixture(scope="module")
def officers(provider):
    with provider.officer(OFFICERS[0]) as olga, provider.officer(OFFICERS[1]) as pieter:
        olga.patch(f"regulations/{REGULATION}", fourEyes=True)
        yield olga, pieter


@pytest.fixture(scope="module")
def request_id(officers):
    """Filed and identified by the first officer."""
    olga, _ = officers
    filed = olga.post(
        "requests", regulation=REGULATION, subject="grace.hopper@example.org",
        forget={"dataset": "digits", "class": FORGOTTEN_CLASS},
    )  # fmt: skip
    olga.post(f"requests/{filed['uuid']}/identity", method="email-link", result="verified")
    return filed["uuid"]


@pytest.fixture(scope="module")
def window(officers, request_id, model):
    """Opened by the first officer, while nobody has approved anything."""
    olga, _ = officers
    return olga.post("windows", model=model, requests=[request_id])["uuid"]


def approve(officer, request_id):
    return officer.post(f"requests/{request_id}/decision", decision="approved")


def test_one_approval_is_not_enough(officers, request_id, window):
    olga, _ = officers
    shown = approve(olga, request_id)
    assert (shown["state"], shown["approvals"]["needed"], len(shown["approvals"]["given"])) == ("open", 2, 1)
    with pytest.raises(RefusedError, match=request_id) as refused:
        olga.post(f"windows/{window}/close")
    assert refused.value.status == 409


def test_the_same_officer_cannot_approve_twice(officers, request_id):
    olga, _ = officers
    with pytest.raises(RefusedError, match="another officer must approve it"):
        approve(olga, request_id)
    assert olga.get(f"requests/{request_id}")["state"] == "open"


def test_the_second_officer_decides(officers, request_id):
    olga, pieter = officers
    shown = approve(pieter, request_id)
    assert shown["state"] == "in_progress"
    assert [given["name"] for given in shown["approvals"]["given"]] == list(OFFICERS)
    assert olga.get(f"requests/{request_id}")["state"] == "in_progress"


def test_now_the_window_closes_over_it(officers, request_id, window):
    olga, _ = officers
    olga.post(f"windows/{window}/close")
    olga.await_window(window, "masked", "settled")
    assert olga.get(f"windows/{window}")["requests"] == [request_id]


def test_the_log_names_no_officer(officers, request_id, provider):
    """The decision is there, signed by the provider; who took it is the house's own business."""
    olga, _ = officers
    decision = olga.get(f"requests/{request_id}")["decision"]["index"]
    logged = json.dumps(olga.get(f"log/entries/{decision}"))
    said = provider.manage(
        "shell", "--no-imports", "-c",
        "from ledger.models import LogEntry; from ledger.statements.dsse import Envelope\n"
        "for row in LogEntry.objects.all(): print(Envelope.parse(bytes(row.envelope)).payload.decode())",
    )  # fmt: skip
    assert request_id in said
    for name in OFFICERS:
        assert name not in logged + said
