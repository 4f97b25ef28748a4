"""`make bench B=console`: the officers' console with 100,000 requests and 1,000 clients.

The rows come from the use cases themselves: every client is enrolled and committed, one window gives each an order,
every request is filed, sealed and logged. A gunicorn as `manage.py serve` starts it, with an embedded PostgreSQL,
serves the pages on the loopback interface, from a temporary folder. One officer opens every list, the first page,
and the list of requests with filters, a search, another order and its last page, all of them several times, one
after the other. Queries are counted in this process, over the same addresses, and the CPU time of answering is
taken there too: unlike what a caller waits, it does not depend on who else works on the machine. Chromium opens the
pages, wide and light, then narrow and dark, and axe-core judges them by WCAG 2.2 AA.

The last line is JSON. `list_page_p95_ms` is over all addresses and rounds, what the caller waits; `cpu_p95_ms`
is over all addresses, what answering takes. The table names the load on the machine while that was measured.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from benchmarks import serving

MOST_REQUESTS: Final = 1_000_000
MOST_CLIENTS: Final = 10_000
_BATCH: Final = 500
_JUDGED: Final = 20  # orders that are answered
_DAYS: Final = 40  # over which requests came in: of GDPR's month a quarter is late
_ROUNDS: Final = 7
_NAME: Final = "officer"


def main() -> None:
    """Seed, measure, print a table and one JSON line."""
    parser = argparse.ArgumentParser(description="Benchmark of the officers' console.")
    parser.add_argument("--requests", type=int, default=100_000, help=f"default 100,000, at most {MOST_REQUESTS}")
    parser.add_argument("--clients", type=int, default=1_000, help=f"default 1,000, at most {MOST_CLIENTS}")
    parser.add_argument(
        "--folder", type=Path, help="keeps the seeded ledger there; one that is there already is measured as it is"
    )
    options = parser.parse_args()
    requests, clients = min(options.requests, MOST_REQUESTS), min(options.clients, MOST_CLIENTS)
    with tempfile.TemporaryDirectory(prefix="bench-console-") as name:
        folder = options.folder.resolve() if options.folder else Path(name)
        seeded = (folder / "seeded").exists()
        set_up(folder, new=not seeded)
        try:
            if not seeded:
                seed(folder, requests, clients)
                (folder / "seeded").touch()
            run(folder)
        finally:
            serving.stop(folder)


def run(folder: Path) -> None:
    """Measure a seeded ledger, and report."""
    addresses = pages()
    queries, busy, seeded = count_queries(addresses), count_seconds(addresses), count_rows()
    cookie = session()
    with serving.server(folder) as address:
        waited = measure(address, addresses, cookie)
        wrong = judge(address, addresses, cookie)
    report(addresses, waited, queries, busy, wrong, *seeded)


def count_rows() -> tuple[int, int]:
    """Requests and clients that there are."""
    from ledger.models import Client, DeletionRequest

    return DeletionRequest.objects.count(), Client.objects.count()


def set_up(folder: Path, *, new: bool) -> None:
    """A ledger in the folder; a new one is empty."""
    if not new:
        serving.open_ledger(folder)
        return
    serving.new_ledger(folder)
    (folder / "releases").mkdir()


def seed(folder: Path, requests: int, clients: int) -> None:
    """Clients with an order each, some of them answered; requests in batches; a checkpoint; an officer."""
    from django.contrib.auth.models import User
    from django.db import connection

    from ledger import log
    from ledger.workflow import proofs
    from tests.ledger.story import Story, verdict

    started = time.monotonic()
    story = Story(folder / "releases")
    parties = {party.uuid: party for party in (story.party(f"client {number:05}") for number in range(clients))}
    window = story.masked_window()
    for order in window.orders.select_related("client_model")[:_JUDGED]:
        proof = story.proved(parties[str(order.client_model.client_id)], order)
        proofs.record_verdict(proof.uuid, verdict(accepted=order.pk.int % 4 != 0))
    print(f"{clients} clients, {window.orders.count()} orders: {time.monotonic() - started:.0f} s", file=sys.stderr)
    started = time.monotonic()
    for first in range(0, requests, _BATCH):
        _file(range(first, min(first + _BATCH, requests)), requests)
    print(f"{requests} requests: {time.monotonic() - started:.0f} s", file=sys.stderr)
    log.publish_checkpoint()
    User.objects.create_superuser(_NAME)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")  # as autovacuum does it on a ledger that has grown over time


def _file(numbers: range, total: int) -> None:
    from django.utils import timezone

    from ledger.workflow.actors import SYSTEM
    from ledger.workflow.filing import Filing, file_many

    now = timezone.now()
    filings = [
        Filing(
            ("gdpr", "uk-gdpr", "ccpa", "lgpd")[number % 4],
            f"person {number}",
            {"dataset": "digits", "class": number % 10},
            now - timedelta(days=_DAYS * number / total),
        )
        for number in numbers
    ]
    refused = [one.refusal for one in file_many(filings, actor=SYSTEM) if one.refusal is not None]
    if refused:
        raise SystemExit(
            f"{len(refused)} of {len(filings)} requests were refused, the first: {refused[0].sentence}"
        )


def pages() -> list[str]:
    """The first page, all lists, and the list of requests in the ways in which officers use it."""
    from django.contrib import admin
    from django.urls import reverse

    from ledger.models import DeletionRequest

    admin.autodiscover()
    lists = [
        reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")  # noqa: SLF001
        for model in admin.site._registry  # noqa: SLF001
    ]
    requests = reverse("admin:ledger_deletionrequest_changelist")
    some = DeletionRequest.objects.order_by("-due_at")[5]
    last = (DeletionRequest.objects.count() - 1) // 50 + 1
    ways = (
        "?state__exact=open", "?left=late", "?left=7", "?regulation__exact=ccpa", f"?q={some.pk}", "?o=-4",
        f"?p={last}",
    )  # fmt: skip
    return ["/admin/", *sorted(lists), *(requests + way for way in ways)]


def logged_in() -> Any:
    """An officer who has logged in, without a server."""
    from django.contrib.auth.models import User
    from django.test import Client

    browser = Client(SERVER_NAME="localhost")
    browser.force_login(User.objects.get(username=_NAME))
    return browser


def count_seconds(addresses: list[str]) -> dict[str, float]:
    """CPU milliseconds of answering each page, without the database's; after one round that nobody counts."""
    browser = logged_in()
    found = {}
    for address in addresses:
        browser.get(address)
        started = time.process_time()
        for _ in range(_ROUNDS):
            browser.get(address)
        found[address] = 1000 * (time.process_time() - started) / _ROUNDS
    return found


def count_queries(addresses: list[str]) -> dict[str, int]:
    """Queries of each page, session and account included."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    browser = logged_in()
    found = {}
    for address in addresses:
        with CaptureQueriesContext(connection) as queries:
            answer = browser.get(address)
        if answer.status_code != 200:
            raise SystemExit(f"{address} answers {answer.status_code}")
        found[address] = len(queries)
    return found


def session() -> str:
    """The cookie of an officer who has logged in."""
    from django.db import connections

    cookie: str = logged_in().cookies["sessionid"].value
    connections.close_all()
    return cookie


def measure(address: str, addresses: list[str], cookie: str) -> dict[str, list[float]]:
    """Milliseconds until each page has come, after one round that nobody counts."""
    import httpx2

    waited: dict[str, list[float]] = {one: [] for one in addresses}
    with httpx2.Client(base_url=address, cookies={"sessionid": cookie}, timeout=60) as client:
        for round_ in range(_ROUNDS + 1):
            for one in addresses:
                started = time.perf_counter()
                answer = client.get(one)
                if answer.status_code != 200:
                    raise SystemExit(f"{one} answers {answer.status_code}")
                if round_:
                    waited[one].append(1000 * (time.perf_counter() - started))
    return waited


def judge(address: str, addresses: list[str], cookie: str) -> list[str]:
    """What axe-core finds wrong, page by page."""
    from tests.browsing import change_looks, open_browser, open_context, violations

    wrong = []
    with open_browser() as browser:
        context = open_context(browser, address)
        context.add_cookies([{"name": "sessionid", "value": cookie, "url": address}])
        page = context.new_page()
        for one in addresses:
            page.goto(one)
            wrong += [f"{one}: {problem}" for problem in violations(page)]
            change_looks(page, "narrow", "dark")
            wrong += [f"{one} (narrow, dark): {problem}" for problem in violations(page)]
            change_looks(page, "wide", "light")
    return wrong


def report(
    addresses: list[str], waited: dict[str, list[float]], queries: dict[str, int], busy: dict[str, float],
    wrong: list[str], requests: int, clients: int,
) -> None:  # fmt: skip
    """The table, what is wrong, and the JSON line."""
    print(f"waited (median), CPU of the page, queries; load on {os.cpu_count()} cores: {os.getloadavg()[1]:.1f}")
    for one in addresses:
        print(f"{statistics.median(waited[one]):8.0f} ms {busy[one]:6.0f} ms {queries[one]:4d}  {one}")
    for problem in wrong:
        print(problem)
    every = (value for values in waited.values() for value in values)
    print(
        json.dumps(
            {
                "list_page_p95_ms": round(_p95(every), 1),
                "cpu_p95_ms": round(_p95(busy.values()), 1),
                "max_queries": max(queries.values()),
                "requests_seeded": requests,
                "clients_seeded": clients,
                "axe_violations": len(wrong),
            }
        )
    )


def _p95(values: Iterable[float]) -> float:
    every = sorted(values)
    return every[int(0.95 * (len(every) - 1))]


if __name__ == "__main__":
    main()
