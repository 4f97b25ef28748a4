"""Reports of every kind, made by hand: rows as a ledger gives them, no database."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

from ledger.reports.metrics import metrics
from ledger.reports.schema import About, Certificate, Event, Log, Order, Report, Request, Scope, Window

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
_NOTE = """\
ledger.example/log
2000
EhISEhISEhISEhISEhISEhISEhISEhISEhISEhISEhI=

\N{EM DASH} ledger.example/log AAAA
"""


def uuid_of(number: int) -> str:
    return str(uuid.UUID(int=number << 96 | number))


def request(number: int = 1, **changes: object) -> Request:
    said = Request(
        request=uuid_of(number), regulation=("gdpr", "ccpa")[number % 2], state="fulfilled",
        received_at=NOW - timedelta(days=20 + 3 * number), due_at=NOW + timedelta(days=45), acknowledge_by=None,
        acknowledged_at=None, extended=number % 5 == 3, extension_reason="complexity" if number % 5 == 3 else "",
        notified_at=NOW, decision="approved", decision_reason="identity-verified", decided_at=NOW,
        closure_reason="", answered_at=NOW, days=20.0, in_time=True, filed_entry=number,
        decision_entry=100 + number,
        fulfilled_entry=900 + number, erased_entry=None,
    )  # fmt: skip
    return said.model_copy(update=changes)


def order(number: int) -> Order:
    full = number % 3 > 0
    return Order(
        order=uuid_of(200 + number), window=uuid_of(100), client=uuid_of(300 + number),
        client_name=f"Clinic {number}", state="met", attempts=1, coverage="full" if full else "sampled(40)",
        due_at=NOW, claimed_at=NOW, late=number == 2, result="accepted", verdict_at=NOW, touched_chunks=1200,
        proved_chunks=1200 if full else 480, failed_chunks=0, detection="1" if full else "0.4",
        bundle_sha256="cd" * 32, srs_provenance="ceremony", exception_reason="", order_entry=410 + number,
        verdict_entry=800 + number,
    )  # fmt: skip


def certificate(number: int) -> Certificate:
    return Certificate(
        request=uuid_of(number), window=uuid_of(100), entry=1000 + number, issued_at=NOW, complete=True,
        quorum_percent=90, coverage="full", detection="1", srs_provenance="ceremony", current=number != 2,
        proves=["the committed model became what mask and curvature prescribe"],
        does_not_prove=["that the model behaves as if it had never seen the data"],
    )  # fmt: skip


def window() -> Window:
    return Window(
        window=uuid_of(100), model="X-ray classifier", state="certified", requests=3, closed_at=NOW, masked_at=NOW,
        mask_sha256="ab" * 32, masked_weights=850_000, total_weights=28_311_552, coverage="full", quorum_percent=90,
        orders={"met": 8}, closed_entry=400, mask_entry=401,
    )  # fmt: skip


def report(scope: Scope) -> Report:
    requests = [request(number) for number in range(1, 8)]
    found = Report(
        report=uuid_of(1), about=About(scope=scope, id=uuid_of(100), name="X-ray"),
        made_at=NOW, personal_data=False,
        log=Log(
            origin="ledger.example/log", vkey="ledger.example/log+00000000+AAAA", provider_key="ef" * 32, size=2000,
            root="12" * 32, checkpoint=_NOTE,
        ),
        requests=requests, windows=[window()], certificates=[certificate(number) for number in (1, 2, 3)],
    )  # fmt: skip
    if scope == "period":
        about = About(scope=scope, since=NOW - timedelta(days=730), until=NOW)
        return found.model_copy(update={"about": about, "metrics": metrics(requests, set(), NOW)})
    steps = ("request filed", "window closed", "client ordered", "proof accepted", "certificate issued")
    events = [Event(at=NOW + timedelta(days=day), what=steps[day // 2], entry=day) for day in range(10)]
    return found.model_copy(update={"orders": [order(number) for number in range(8)], "timeline": events})
