"""`make bench B=report`: the report on a window of 1,000 clients, as PDF, JSON and tables; and reading bundles.

The rows come from the use cases themselves: every client is enrolled and committed, the window gives each an order,
each claims, is challenged, sends a proof and gets its verdict, all of it signed and logged, and the window is
certified. Point files and proofs are random bytes of the right sizes: reports do not open them. Then `manage.py
report` writes each form in a process of its own, Django's start and for the PDF the audit bundle inside included;
JSON is the baseline that shows what typesetting costs.

`--requests 10000` puts that many requests into the window. Seeding them takes a while, and is not counted.

The last line is JSON: `report_seconds` and `report_peak_mb` (resident memory) are of the PDF, medians of several
runs. `pdfa_valid` says that nothing was found in it that PDF/A-3a forbids, by veraPDF where it is installed, and by
the checks of the tests (`tests/pdfa`) in any case: `pdfa_checked_by`. `bundle_entries_per_second` is that of
`benchmarks.bundle`, which has more.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from benchmarks import serving

MOST_CLIENTS: Final = 10_000
_FORMS: Final = ("pdf", "json", "csv")


def main() -> None:
    """Seed, measure, print a table and one JSON line."""
    parser = argparse.ArgumentParser(description="Benchmark of audit reports.")
    parser.add_argument("--clients", type=int, default=1_000, help=f"default 1,000, at most {MOST_CLIENTS}")
    parser.add_argument("--requests", type=int, default=1, help="in the window; default 1")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    clients, requests, runs = min(options.clients, MOST_CLIENTS), max(options.requests, 1), max(options.runs, 1)
    with tempfile.TemporaryDirectory(prefix="bench-report-") as name:
        folder = Path(name)
        serving.new_ledger(folder)
        (folder / "releases").mkdir()
        try:
            window = seed(folder, clients, requests)
            found = {form: measure(folder, window, form, runs) for form in _FORMS}
            say(folder, found, {"clients": clients, "requests": requests})
        finally:
            serving.stop(folder)


def seed(folder: Path, clients: int, requests: int) -> str:
    """A window of so many requests in which every client has answered; its UUID."""
    from django.db import connection, connections

    from ledger.workflow import certificates, proofs, windows
    from tests.ledger.story import TOTAL, Story, verdict

    started = time.monotonic()
    story = Story(folder / "releases")
    parties = {party.uuid: party for party in (story.party(f"client {number:05}") for number in range(clients))}
    asked = [story.approved_request().uuid for _ in range(requests)]
    window = windows.close_window(windows.open_window(story.model, None, asked).uuid)
    window = windows.publish_mask(window.uuid, b"mask", 2, TOTAL, {"seed": 0})
    for order in window.orders.select_related("client_model"):
        proof = story.proved(parties[str(order.client_model.client_id)], order)
        proofs.record_verdict(proof.uuid, verdict(accepted=order.pk.int % 10 != 0))
    certificates.certify(window.uuid)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")  # as autovacuum does it on a ledger that has grown over time
    connections.close_all()
    print(
        f"{clients} clients with claim and verdict, {requests} requests: {time.monotonic() - started:.0f} s",
        file=sys.stderr,
    )
    return str(window.uuid)


def measure(folder: Path, window: str, form: str, runs: int) -> tuple[float, float]:
    """Seconds and peak resident memory in MB of `manage.py report`, medians."""
    took = []
    command = [sys.executable, "manage.py", "report", "window", window, "--format", form]
    for _ in range(runs):
        started = time.perf_counter()
        child = os.posix_spawn(sys.executable, [*command, "--output", str(folder / f"report.{form}")], os.environ)
        _, status, used = os.wait4(child, 0)
        if status != 0:
            raise SystemExit(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
        took.append((time.perf_counter() - started, used.ru_maxrss / 1024))
    seconds, megabytes = zip(*took, strict=True)
    return statistics.median(seconds), statistics.median(megabytes)


def say(folder: Path, found: dict[str, tuple[float, float]], sizes: dict[str, int]) -> None:
    """The table and the line."""
    from tests.pdfa import judged

    print(f"{'form':<6}{'seconds':>10}{'peak MB':>10}{'file, MB':>10}")
    for form, (seconds, megabytes) in found.items():
        size = (folder / f"report.{form}").stat().st_size / 1e6
        print(f"{form:<6}{seconds:>10.2f}{megabytes:>10.0f}{size:>10.2f}")
    problems, checked_by = judged((folder / "report.pdf").read_bytes())
    for problem in problems:
        print(f"PDF/A {problem}", file=sys.stderr)
    result = {
        "benchmark": "report",
        **sizes,
        "report_seconds": round(found["pdf"][0], 2),
        "report_peak_mb": round(found["pdf"][1]),
        "json_seconds": round(found["json"][0], 2),
        "json_peak_mb": round(found["json"][1]),
        "pdfa_valid": not problems,
        "pdfa_checked_by": checked_by,
        "bundle_entries_per_second": _bundle_rate(),
    }
    print(json.dumps(result))


def _bundle_rate() -> int:
    """In a process of its own, which has no threads: it forks."""
    command = [sys.executable, "-m", "benchmarks.bundle"]
    said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    return int(json.loads(said.splitlines()[-1])["bundle_entries_per_second"])


if __name__ == "__main__":
    main()
