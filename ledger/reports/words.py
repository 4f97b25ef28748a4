"""What a report says in sentences, for readers who know neither the ledger nor its states: English, as all of it.

Certificates call orders met, met-late, rejected, unanswered and excepted; reports use the same words, and explain
them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from ledger.reports.schema import Metrics, Order, Report, Request, Window
from ledger.statements import lifecycle

#: Regulations by the names that people know them under.
LAWS: Final = {"gdpr": "GDPR", "uk-gdpr": "UK GDPR", "ccpa": "CCPA", "lgpd": "LGPD", "other": "another law"}
_EXCEPTIONS: Final = {
    "model-not-in-use": "the model is not in use there",
    "client-gone": "the client is gone",
    "client-unable": "the client is unable to",
    "legal-reason": "a legal reason",
    "provider-fault": "a fault of the provider",
    "other": "another reason",
}
#: Of orders, in the order in which reports list them; what a client that stands so has done.
STANDINGS: Final = {
    "met": ("has proved in time what was ordered", "have proved in time what was ordered"),
    "met-late": ("has proved it late", "have proved it late"),
    "rejected": (
        "has sent an answer that did not hold and was rejected",
        "have sent answers that did not hold and were rejected",
    ),
    "unanswered": ("has not answered by its due date", "have not answered by their due date"),
    "excepted": ("was excepted", "were excepted"),
    "being checked": ("has answered and is being checked", "have answered and are being checked"),
    "awaited": ("still has time to answer", "still have time to answer"),
}
_WINDOWS: Final = {
    "open": "It is still open: requests can be added, and nothing has been ordered yet.",
    "closed": "It is closed, but its mask is not computed yet, so nothing has been ordered.",
    "masked": "Its orders are under way.",
    "settled": "Its orders are settled, and no certificate has been issued yet.",
}


def standing(order: Order, now: datetime) -> str:
    """How an order stands, in the words of certificates (`Certificate.outcomes`), or in two of our own before."""
    match order.state:
        case "met":
            return "met-late" if order.late else "met"
        case "rejected" | "excepted":
            return order.state
        case "claimed" | "proved":
            return "being checked"
    return "unanswered" if order.due_at < now else "awaited"


def standings(orders: Iterable[Order], now: datetime) -> dict[str, int]:
    """How many orders stand how."""
    found = Counter(standing(order, now) for order in orders)
    return {name: found[name] for name in STANDINGS if found[name]}


def exception(order: Order) -> str:
    """Why a client was excepted; empty if it was not."""
    return _EXCEPTIONS.get(order.exception_reason, order.exception_reason)


def reason(code: str, *registers: Mapping[str, lifecycle.Reason]) -> str:
    """What a code means and the code itself, as it stands in the log; a code that no register has is itself."""
    for register in registers:
        if code in register:
            return f"{register[code].meaning} ({code})"
    return code


def decision_reason(request: Request) -> str:
    """Why it was approved or denied, as far as that was noted."""
    return reason(request.decision_reason, lifecycle.APPROVAL, lifecycle.DENIAL)


def closure_reason(request: Request) -> str:
    """Why it ended without an answer; empty if it did not."""
    return reason(request.closure_reason, lifecycle.REVOCATION, lifecycle.EXPIRY)


def extension_reason(request: Request) -> str:
    """Why there is more time; empty if there is not."""
    return reason(request.extension_reason, lifecycle.EXTENSION)


def punctual(request: Request, now: datetime) -> str:
    """Whether it was answered by its due date, in a word."""
    if request.in_time is not None:
        return "yes" if request.in_time else "no"
    return "overdue" if request.due_at < now else "not due yet"


def outcome(report: Report) -> list[str]:
    """What the report comes to, before all tables: a few sentences."""
    match report.about.scope:
        case "request":
            said = [_request(one, report.made_at) for one in report.requests]
        case "window":
            said = [_window(one, report) for one in report.windows]
        case "client":
            said = [] if report.orders else ["This client has never been ordered to forget anything."]
        case _:
            said = _period(report.metrics)
    return said + _clients(report)


def _request(one: Request, now: datetime) -> str:
    law, due = LAWS.get(one.regulation, one.regulation), f"{one.due_at:%Y-%m-%d}"
    said = f"The request was received on {one.received_at:%Y-%m-%d} under {law}"
    longer = ", an extension included" if one.extended else ""
    match one.state:
        case "denied":
            end = f"It was denied on {_day(one.answered_at)}: {decision_reason(one) or 'no reason was noted'}."
        case "fulfilled":
            end = f"It was fulfilled on {_day(one.answered_at)}, {'in time' if one.in_time else 'too late'}."
        case "revoked" | "expired":
            end = f"It ended without an answer on {_day(one.answered_at)}: {closure_reason(one)}."
        case _:
            what = "It is approved, but not yet fulfilled" if one.decision else "It is not decided yet"
            end = f"{what}{', and overdue' if one.due_at < now else ''}."
    hold = " It is under a legal hold." if one.held else ""
    gone = "" if one.erased_entry is None else " Who asked has been erased from the ledger."
    return f"{said}; an answer was due by {due}{longer}. {end}{hold}{gone}"


def _day(time: datetime | None) -> str:
    return "an unknown day" if time is None else f"{time:%Y-%m-%d}"


def _window(one: Window, report: Report) -> str:
    said = f"The window answers {_number(one.requests, 'request')}, on the model {one.model}."
    if one.state != "certified":
        return f"{said} {_WINDOWS[one.state]}"
    whole = all(certificate.complete for certificate in report.certificates if certificate.current)
    share = (
        "every client that was ordered" if one.quorum_percent == 100 else f"{one.quorum_percent} % of the clients"
    )
    return f"{said} It is certified. The quorum, {share}, was {'reached' if whole else 'not reached'}."


def _clients(report: Report) -> list[str]:
    found = standings(report.orders, report.made_at)
    if not found:
        return []
    if report.about.scope == "client":
        parts = [f"{name} {number}" for name, number in found.items()]
        return [f"The client was given {_number(len(report.orders), 'order')}: {_list(parts)}."]
    parts = [f"{number:,} {STANDINGS[name][number > 1]}" for name, number in found.items()]
    return [f"Of {_number(len(report.orders), 'order')} to clients: {_list(parts)}."]


def _period(found: list[Metrics]) -> list[str]:
    received = sum(one.received for one in found)
    if not received:
        return ["No request was received in this period."]
    counts = {
        "fulfilled": sum(one.fulfilled for one in found),
        "denied": sum(one.denied for one in found),
        "revoked or expired": sum(one.closed for one in found),
        "not answered yet": sum(one.pending for one in found),
    }
    late, overdue = sum(one.answered_late for one in found), sum(one.overdue for one in found)
    parts = [f"{number:,} {name}" for name, number in counts.items()]
    return [
        f"{_number(received, 'request')} received: {_list(parts)}.",
        f"Answered too late: {late}. Overdue when this report was made: {overdue}.",
    ]


def _number(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _list(parts: Iterable[str]) -> str:
    *some, last = parts
    return f"{', '.join(some)} and {last}" if some else last
