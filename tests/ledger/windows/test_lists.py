"""Windows with more requests and clients than an entry of the log can name; providers that cheat with the lists."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest

from ledger import log, models
from ledger.statements import predicates, rules
from ledger.statements.errors import RuleError
from ledger.statements.predicates import Predicate
from ledger.statements.story import Story as Rules
from ledger.workflow import certificates, lists, suspension, windows
from ledger.workflow.certificates import certify, latest_certificates
from prover_worker.audit.opening import open_bundle
from prover_worker.errors import AuditError
from tests.bundles import Bundle, window_bundle
from tests.ledger.requests.parts import days_later, holds
from tests.ledger.story import Story
from tests.ledger.windows.parts import answered, masked, said

Entries = list[tuple[int, bytes, Predicate]]


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry of the log has room for two requests, or one client."""
    monkeypatch.setattr(lists, "MOST_DECISIONS", 2)
    monkeypatch.setattr(windows, "MOST_DECISIONS", 2)
    monkeypatch.setattr(lists, "MOST_LINES", 1)
    monkeypatch.setattr(certificates, "MOST_LINES", 1)


@pytest.fixture
def window(story: Story, short: None) -> models.Window:
    """Five requests; two clients have answered, one has not, one was suspended; certified, and supplemented."""
    parties = [story.party(name) for name in "abcd"]
    suspension.suspend_client(parties[3].row.uuid)
    window = masked(story, *(story.approved_request() for _ in range(5)), quorumPercent=60)
    answered(story, parties[0], window)
    with days_later(60):
        assert [one.complete for one in certify(window.uuid)] == [False] * 5
        answered(story, parties[1], window)
        answered(story, parties[2], window)
    return window


def test_a_window_of_any_size(window: models.Window) -> None:
    closed = said_at(window.closed_entry_id)
    assert closed.decisions == []
    found = [part for _, part in lists.parts(closed.requests_in)]
    assert [(part.number, len(part.decisions)) for part in found] == [(3, 1), (2, 2), (1, 2)]
    latest = latest_certificates(window)
    assert [(one.complete, said(one).outcomes) for one in latest] == [(True, [])] * 5
    (last,) = {said(one).outcomes_in.index for one in latest}
    outcomes = [one for _, part in lists.parts(said(latest[0]).outcomes_in) for one in part.outcomes]
    assert sorted(one.status for one in outcomes) == ["met", "met-late", "met-late"]
    assert [one.reason for one in said_at(last).not_ordered] == ["suspended"]
    assert set(window.requests.values_list("state", flat=True)) == {"fulfilled"}
    holds()
    bundle = window_bundle(window.uuid)
    report = open_bundle(io.BytesIO(bundle)).report
    assert (report.figures["certificates"], report.figures["completeCertificates"]) == (15, 5)
    # Without one of the parts: the auditor refuses the rest, wherever in the list it stood.
    for slug, number in (("window-requests", 0), ("window-requests", 2), ("window-outcomes", 1)):
        doctored = Bundle.of(bundle)
        doctored.leave_out(doctored.index(slug, number))
        with pytest.raises(AuditError, match=r"breaks off|not in the bundle|names none before"):
            open_bundle(io.BytesIO(doctored.pack()))


def test_few_are_named_where_they_count(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    story.party()
    window = masked(story, story.approved_request(), story.approved_request())
    monkeypatch.setattr(certificates, "_MOST_REPEATED", 1)  # one client in each of two certificates are two
    with days_later(60):
        made = certify(window.uuid)
    assert {len(said(one).outcomes) for one in made} == {0}
    assert len({said(one).outcomes_in.index for one in made}) == 1
    holds()


def said_at(index: int | None) -> Any:
    return log.statement(models.LogEntry.objects.get(index=index)).predicate


def read() -> Entries:
    return [
        (entry.index, bytes(entry.leaf_hash), log.statement(entry).predicate)
        for entry in models.LogEntry.objects.order_by("index")
    ]


def replay(entries: Entries) -> None:
    """As every reader of the log does. Raises RuleError."""
    told = Rules(whole=False)
    for index, leaf_hash, statement in entries:
        rules.check(told, index, statement)
        told.add(index, leaf_hash, statement)


def places(entries: Entries, slug: str) -> list[int]:
    return [at for at, (_, _, statement) in enumerate(entries) if statement.slug == slug]


def change(slug: str, nth: int, /, **changes: Any) -> Callable[[Entries], Entries]:
    """The n-th statement of a kind with these changes; functions are given it to make a value from."""

    def doctor(entries: Entries) -> Entries:
        at = places(entries, slug)[nth]
        index, leaf_hash, statement = entries[at]
        values = {name: value(statement, entries) if callable(value) else value for name, value in changes.items()}
        return [*entries[:at], (index, leaf_hash, statement.model_copy(update=values)), *entries[at + 1 :]]

    return doctor


def between(slug: str, number: int) -> Callable[[Entries], Entries]:
    """Something else happens right after a statement, and everything later moves by one."""

    def doctor(entries: Entries) -> Entries:
        at = places(entries, slug)[number] + 1
        filed = next(one for one in entries if one[2].slug == "deletion-request")
        other = filed[2].model_copy(update={"request": "00000000-0000-4000-8000-000000000000"})
        here = entries[at][0]
        moved = [(index + 1, leaf_hash, shifted(statement, here)) for index, leaf_hash, statement in entries[at:]]
        return [*entries[:at], (here, bytes(32), other), *moved]

    return doctor


def shifted(statement: Predicate, here: int) -> Predicate:
    """References to entries from `here` on point one further."""
    dumped = statement.model_dump()

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            if "leaf_hash" in value and value["index"] >= here:
                value["index"] += 1
            for item in value.values():
                walk(item)
        elif isinstance(value, list):
            for item in value:
                walk(item)

    walk(dumped)
    return type(statement).model_validate(dumped)


def ref(entries: Entries, slug: str, number: int) -> predicates.base.LogRef:
    index, leaf_hash, _ = entries[places(entries, slug)[number]]
    return predicates.base.LogRef(index=index, leaf_hash=leaf_hash.hex())


def without_part(slug: str, number: int) -> Callable[[Entries], Entries]:
    def doctor(entries: Entries) -> Entries:
        at = places(entries, slug)[number]
        return [*entries[:at], *entries[at + 1 :]]

    return doctor


# In the window above: parts 0 to 2 of its requests; parts 0 to 3 of the first list of outcomes, 4 to 7 of the
# second, 8 to 11 of the third, the last of each about the suspended client; certificates 0 to 4, 5 to 9, 10 to 14.
ATTACKS: dict[str, tuple[Callable[[Entries], Entries], str]] = {
    "requests: the first part left out": (without_part("window-requests", 0), "is not in the log as it says"),
    "requests: a part left out": (without_part("window-requests", 1), "breaks off"),
    "requests: the last part left out": (without_part("window-requests", 2), "breaks off"),
    "requests: a part passed over": (
        change("window-close", 0, requests_in=lambda _, all_: ref(all_, "window-requests", 1)), "breaks off",
    ),
    "requests: of another window": (
        change("window-requests", 1, window="00000000-0000-4000-8000-000000000000"), "of another window or model",
    ),
    "requests: for another window": (
        change("window-close", 0, window="00000000-0000-4000-8000-000000000000"), "about another window or model",
    ),
    "requests: twice the same": (
        change("window-requests", 1, decisions=lambda _, all_: [ref(all_, "request-decision", 0)]),
        "names a request twice",
    ),
    "requests: a part twice": (change("window-requests", 1, number=1, previous=None), "breaks off"),
    "requests: wrong number": (change("window-requests", 1, number=3), "parts follow each other"),
    "requests: not from the first": (change("window-requests", 0, number=2), "names none before"),
    "requests: here and there": (
        change("window-close", 0, decisions=lambda _, all_: [ref(all_, "request-decision", 0)]), "one of the two",
    ),
    "requests: nowhere": (change("window-close", 0, requests_in=None), "breaks off"),
    "requests: something in between": (between("window-requests", 1), "breaks off"),
    "requests: a list by itself": (between("window-requests", 2), "breaks off"),
    "outcomes: a part left out": (without_part("window-outcomes", 2), "breaks off"),
    "outcomes: the last part left out": (without_part("window-outcomes", 3), "breaks off"),
    "outcomes: a part twice": (
        change("window-outcomes", 1, outcomes=lambda _, all_: all_[places(all_, "window-outcomes")[0]][2].outcomes),
        "exactly the orders",
    ),
    "outcomes: an order left out": (change("window-outcomes", 1, outcomes=[]), "exactly the orders"),
    "outcomes: not what happened": (
        change("window-outcomes", 0, outcomes=lambda it, _: [one.model_copy(update={"status": "rejected"})
                                                            for one in it.outcomes]),
        "says rejected where the verdicts say met",
    ),
    "outcomes: another client": (
        change("window-outcomes", 0, outcomes=lambda it, _: [
            one.model_copy(update={"client": "00000000-0000-4000-8000-000000000000"}) for one in it.outcomes]),
        "client of order",
    ),
    "outcomes: a suspended client left out": (change("window-outcomes", 3, not_ordered=[]), "leaves out client"),
    "outcomes: of another mask": (
        change("window-outcomes", 0, mask=lambda _, all_: ref(all_, "window-close", 0)), "as a mask",
    ),
    "outcomes: a second list beside the first": (
        change("window-outcomes", 4, supplements=None), "supplements None, the last part",
    ),
    "outcomes: a new list in the middle": (
        change("window-outcomes", 5, supplements=lambda _, all_: ref(all_, "window-outcomes", 3)),
        "calls itself a new one",
    ),
    "certificate: only some of the parts": (
        change("certificate", 1, outcomes_in=lambda _, all_: ref(all_, "window-outcomes", 1)),
        "the window's last one ends",
    ),
    "certificate: on the list of before": (
        change("certificate", 6, outcomes_in=lambda _, all_: ref(all_, "window-outcomes", 3)),
        "the window's last one ends",
    ),
    "certificate: names a client, too": (
        change("certificate", 0, outcomes=lambda _, all_: all_[places(all_, "window-outcomes")[0]][2].outcomes),
        "names clients itself",
    ),
    "certificate: as if there were no list": (change("certificate", 0, outcomes_in=None), "breaks off"),
    "certificate: does not say whether complete": (change("certificate", 0, complete=None), "does not say"),
    "certificate: says it is complete": (change("certificate", 1, complete=True), "complete is True"),
    "certificate: after something else": (between("certificate", 1), "only entry"),
    "certificate: of a request outside the window": (
        change("certificate", 0, request="00000000-0000-4000-8000-000000000000"), "about another request",
    ),
}  # fmt: skip


def test_what_no_list_can_hide(window: models.Window, story: Story) -> None:
    entries = read()
    replay(entries)
    passed = {
        name: got for name, (doctor, words) in ATTACKS.items() if words not in (got := verdict(doctor(entries)))
    }
    assert passed == {}


def verdict(entries: Entries) -> str:
    """Why a reader refuses these entries."""
    try:
        replay(entries)
    except RuleError as error:
        return str(error)
    return "accepted"
