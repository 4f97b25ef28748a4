"""Figures of a period, from its requests."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Collection, Iterable
from datetime import datetime

from ledger.reports.schema import Metrics, Request


def metrics(requests: list[Request], partly: Collection[str], now: datetime) -> list[Metrics]:
    """One for each regulation under which something was received, in alphabetical order.

    `partly`: requests with a certificate; those of them that are not fulfilled count as complied with in part.
    """
    found: dict[str, list[Request]] = {}
    for request in requests:
        found.setdefault(request.regulation, []).append(request)
    return [_of(name, rows, partly, now) for name, rows in sorted(found.items())]


def _of(regulation: str, rows: list[Request], partly: Collection[str], now: datetime) -> Metrics:
    pending = [row for row in rows if row.answered_at is None]
    answered = [row for row in rows if row.state in ("fulfilled", "denied")]
    days = [row.days for row in answered if row.days is not None]
    return Metrics(
        regulation=regulation,
        received=len(rows),
        fulfilled=sum(row.state == "fulfilled" for row in rows),
        in_part=sum(row.request in partly for row in pending),
        denied=sum(row.state == "denied" for row in rows),
        closed=sum(row.state in ("revoked", "expired") for row in rows),
        pending=len(pending),
        overdue=sum(row.due_at < now for row in pending),
        extended=sum(row.extended for row in rows),
        answered_in_time=sum(row.in_time is True for row in answered),
        answered_late=sum(row.in_time is False for row in answered),
        median_days=round(statistics.median(days), 2) if days else None,
        mean_days=round(statistics.fmean(days), 2) if days else None,
        denial_reasons=_count(row.decision_reason for row in rows if row.state == "denied"),
        extension_reasons=_count(row.extension_reason for row in rows if row.extended),
        by_month=_count(f"{row.received_at:%Y-%m}" for row in rows),
    )


def _count(values: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(value or "not given" for value in values).items()))
