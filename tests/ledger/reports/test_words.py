"""The sentences and plots of a report: what somebody reads who reads nothing else."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from ledger.reports import pdf, words
from ledger.reports.metrics import metrics
from ledger.reports.schema import Event, Report
from tests.ledger.reports.made import NOW, certificate, order, report, request, window
from tests.ledger.reports.test_reports import text_of

LATER, BEFORE = NOW + timedelta(days=1), NOW - timedelta(days=1)
OPEN = {"answered_at": None, "in_time": None, "decision": None}


def said(made: Report, **changes: object) -> str:
    return " ".join(words.outcome(made.model_copy(update=changes)))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, "It was fulfilled on 2026-06-01, in time."),
        ({"in_time": False}, "It was fulfilled on 2026-06-01, too late."),
        (
            {"state": "denied", "decision_reason": "no-match"},
            "denied on 2026-06-01: no data of this person is held (no-match).",
        ),
        ({"state": "denied", "decision_reason": ""}, "denied on 2026-06-01: no reason was noted."),
        (
            {"state": "revoked", "closure_reason": "subject-withdrew"},
            "without an answer on 2026-06-01: the person has withdrawn",
        ),
        ({"state": "open", **OPEN}, "It is not decided yet."),
        (
            {"state": "open", **OPEN, "due_at": BEFORE, "held": True},
            "It is not decided yet, and overdue. It is under a legal hold.",
        ),
        ({"state": "in_progress", **OPEN, "decision": "approved"}, "It is approved, but not yet fulfilled."),
        ({"extended": True}, "by 2026-07-16, an extension included."),
        ({"erased_entry": 7}, "Who asked has been erased from the ledger."),
    ],
)
def test_a_request_in_a_sentence(changes: dict[str, object], sentence: str) -> None:
    text = said(report("request"), requests=[request(1, **changes)])
    assert "received on 2026-05-09 under CCPA; an answer was due by" in text
    assert sentence in text


def test_a_window_in_a_sentence() -> None:
    made = report("window")
    text = said(made)
    assert "The window answers 3 requests, on the model X-ray classifier. It is certified." in text
    assert "The quorum, 90 % of the clients, was reached." in text
    assert "Of 8 orders to clients: 7 have proved in time what was ordered and 1 has proved it late." in text
    failed = [certificate(1).model_copy(update={"complete": False})]
    assert "was not reached" in said(made, certificates=failed)
    replaced = [
        failed[0].model_copy(update={"current": False}),
        certificate(2).model_copy(update={"current": True}),
    ]
    assert "was reached" in said(made, certificates=replaced), "what a supplement has replaced does not count"
    for state in ("open", "closed", "masked", "settled"):
        text = said(made, windows=[window().model_copy(update={"state": state})])
        assert "It is certified" not in text
        assert "quorum" not in text


@pytest.mark.parametrize(
    ("changes", "standing"),
    [
        ({}, "met"),
        ({"late": True}, "met-late"),
        ({"state": "rejected"}, "rejected"),
        ({"state": "excepted"}, "excepted"),
        ({"state": "proved", "due_at": BEFORE}, "being checked"),
        ({"state": "issued", "due_at": BEFORE}, "unanswered"),
        ({"state": "challenged", "due_at": BEFORE}, "unanswered"),
        ({"state": "issued", "due_at": LATER}, "awaited"),
    ],
)
def test_an_order_stands_as_certificates_would_say(changes: dict[str, object], standing: str) -> None:
    one = order(1).model_copy(update=changes)
    assert words.standing(one, NOW) == standing
    assert "The client was given 1 order:" in said(report("client"), orders=[one])


def test_nothing_to_report_is_said() -> None:
    assert said(report("client"), orders=[]) == "This client has never been ordered to forget anything."
    assert said(report("period"), requests=[], metrics=[]) == "No request was received in this period."
    late = [request(1, in_time=False), request(2, state="open", **OPEN, due_at=BEFORE)]
    text = said(report("period"), metrics=metrics(late, set(), NOW))
    assert text.startswith(
        "2 requests received: 1 fulfilled, 0 denied, 0 revoked or expired and 1 not answered yet."
    )
    assert text.endswith("Answered too late: 1. Overdue when this report was made: 1.")


def test_months_without_requests_are_drawn_too() -> None:
    rows = [request(7, received_at=NOW - timedelta(days=days)) for days in (0, 100, 100)]
    (found,) = metrics(rows, set(), NOW)
    assert [(one["label"], one["number"]) for one in pdf._months(found)] == [
        ("2026-02", 2), ("2026-03", 0), ("2026-04", 0), ("2026-05", 0), ("2026-06", 1),
    ]  # fmt: skip
    rows.append(request(7, received_at=NOW - timedelta(days=4 * 365)))
    (found,) = metrics(rows, set(), NOW)
    assert [(one["label"], one["number"]) for one in pdf._months(found)] == [
        ("2022", 1), ("2023", 0), ("2024", 0), ("2025", 0), ("2026", 3),
    ]  # fmt: skip


def test_a_long_time_line_is_whole_all_the_same() -> None:
    """Ten thousand requests, filed and approved in turn: not the first hundred steps, but one row for each kind."""
    events = [
        Event(at=NOW + timedelta(minutes=step), what=("request filed", "request approved")[step % 2], entry=step)
        for step in range(2 * pdf.PRINTED["steps"])
    ]
    last = Event(at=NOW + timedelta(days=9), what="certificate issued", entry=999)
    made = report("window").model_copy(update={"timeline": [*events, last]})
    shown = pdf._steps(made)
    assert (shown["each"], [(row["what"], row["first"], row["end"], row["number"]) for row in shown["steps"]]) == (
        False,
        [("request filed", 0, 198, 100), ("request approved", 1, 199, 100), ("certificate issued", 999, 999, 1)],
    )
    assert pdf._steps(report("window"))["each"]


def test_what_is_copied_out_of_a_page_is_what_stands_there() -> None:
    """Places where long words may break leave no invisible characters behind, in a key that is pasted elsewhere."""
    made = report("window")
    vkey = "ledger.example/a-log-with-a-name-that-takes-two-lines-in-any-report-on-paper+00000000+" + "A" * 44
    text = text_of(pdf.render(made.model_copy(update={"log": made.log.model_copy(update={"vkey": vkey})})))
    assert "\u200b" not in text
    assert made.log.root in text
    assert vkey in re.sub(r"\s", "", text)
