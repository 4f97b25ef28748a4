"""`make bench B=api`: the REST interface under load, beside the barest request that the same server answers.

A gunicorn of two processes with eight threads each and an embedded PostgreSQL (fsync on) serve signed clients on
the loopback interface, from a temporary folder. Each client does over and over, one request after the other, what
an agent does: asks for its orders, asks for one of them, uploads two files of points, logs a commitment to them
that supersedes its last one. Every request is signed (RFC 9421), every commitment is a signed statement that is
checked, logged and on disk when the answer comes. Buckets for limits are kept as always, only larger.

The baseline is GET /checkpoint, without credentials, by as many callers and with the same code.

The generator runs on the same cores, in processes of its own, so the figures are those of a machine that does both.
The last line is JSON.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import serving

PROCESSES = 2  # of the generator
MOST_SECONDS = 120
MOST_CLIENTS = 200

Latencies = dict[str, list[float]]


@dataclass
class Tally:
    """What one generator process has seen: seconds by kind of request, and how many were refused or failed."""

    seconds: Latencies = field(default_factory=dict)
    errors: int = 0
    first_error: str = ""

    def add(self, kind: str, seconds: float) -> None:
        """One answered request."""
        self.seconds.setdefault(kind, []).append(seconds)

    def merge(self, other: Tally) -> None:
        """The sum of both."""
        for kind, values in other.seconds.items():
            self.seconds.setdefault(kind, []).extend(values)
        self.errors += other.errors
        self.first_error = self.first_error or other.first_error


def main() -> None:
    """Set up a ledger, measure, print a table and one JSON line."""
    parser = argparse.ArgumentParser(description="Benchmark of the REST interface.")
    parser.add_argument("--clients", type=int, default=50, help=f"at once (default 50, at most {MOST_CLIENTS})")
    parser.add_argument("--seconds", type=float, default=20, help=f"per round (default 20, at most {MOST_SECONDS})")
    options = parser.parse_args()
    clients, seconds = min(options.clients, MOST_CLIENTS), min(options.seconds, MOST_SECONDS)
    with tempfile.TemporaryDirectory(prefix="bench-api-") as folder:
        cast = set_up(Path(folder), clients)
        try:
            with serving.server(Path(folder)) as address:
                run(address, cast, baseline, min(seconds, 3))  # connections and caches
                bare = run(address, cast, baseline, seconds)
                loaded = run(address, cast, agent, seconds)
            report(bare, loaded, clients, seconds)
        finally:
            serving.stop(Path(folder))


def set_up(folder: Path, clients: int) -> list[dict[str, Any]]:
    """A ledger with a model, and enrolled clients that have met an order each; what each of them needs to know."""
    serving.new_ledger(folder, "benchmarks.api_settings")
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    from django.db import connections

    from ledger import log
    from ledger.workflow import proofs
    from tests.ledger.story import CHUNKS, PARAMETERS, Story, verdict

    (folder / "releases").mkdir()
    story = Story(folder / "releases")
    parties = [story.party(f"client {number}") for number in range(clients)]
    by_uuid = {party.uuid: party for party in parties}
    window = story.masked_window()
    for order in window.orders.all():
        proofs.record_verdict(story.proved(by_uuid[str(order.client_model.client_id)], order).uuid, verdict())
    log.publish_checkpoint()
    orders = {str(row.client_model.client_id): str(row.uuid) for row in window.orders.all()}
    connections.close_all()
    return [
        {
            "uuid": party.uuid,
            "key": party.key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption()),
            "order": orders[party.uuid],
            "chunks": CHUNKS,
            "weightBytes": 32,
            "curvatureBytes": 32 * (PARAMETERS.rank + PARAMETERS.block_size),
            "model": log.entry_ref(story.model.entry).model_dump(by_alias=True),
            "circuit": log.entry_ref(story.circuit.entry).model_dump(by_alias=True),
        }
        for party in parties
    ]


def run(address: str, cast: list[dict[str, Any]], behave: Callable[..., None], seconds: float) -> Tally:
    """All clients at once, spread over the generator's processes."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(PROCESSES) as pool:
        parts = [(address, cast[part::PROCESSES], behave.__name__, seconds) for part in range(PROCESSES)]
        total = Tally()
        for tally in pool.starmap(generate, parts):
            total.merge(tally)
    return total


def generate(address: str, cast: list[dict[str, Any]], behave: str, seconds: float) -> Tally:
    """One process: a thread per client."""
    total, lock = Tally(), threading.Lock()
    start = threading.Barrier(len(cast))

    def one(who: dict[str, Any]) -> None:
        mine = Tally()
        start.wait()
        try:
            globals()[behave](address, who, mine, time.monotonic() + seconds)
        except Exception as error:
            mine.errors, mine.first_error = mine.errors + 1, mine.first_error or repr(error)
            raise
        with lock:
            total.merge(mine)

    threads = [threading.Thread(target=one, args=(who,)) for who in cast]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return total


def baseline(address: str, _who: dict[str, Any], tally: Tally, end: float) -> None:
    """The barest request, over and over."""
    ask = asker(address, None, tally)
    while time.monotonic() < end:
        ask("GET /checkpoint", "GET", "/checkpoint", b"")


def agent(address: str, who: dict[str, Any], tally: Tally, end: float) -> None:
    """What an agent does, over and over."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.from_private_bytes(who["key"])
    ask = asker(address, key, tally)
    while time.monotonic() < end:
        ask("GET orders", "GET", "/api/v1/orders", b"")
        ask("GET order", "GET", f"/api/v1/orders/{who['order']}", b"")
        files, statement = commitment(who, key)
        for data in files:
            ask("PUT blob", "PUT", f"/api/v1/blobs/{hashlib.sha256(data).hexdigest()}", data)
        ask("POST statement", "POST", "/api/v1/statements", statement)


def commitment(who: dict[str, Any], key: Any) -> tuple[list[bytes], bytes]:
    """Point files of the right sizes, and the signed statement that commits to them."""
    from ledger.statements import predicates
    from ledger.statements.predicates.base import LogRef
    from ledger.statements.statement import sign_statement
    from ledger.tlog import merkle

    def points(size: int) -> tuple[bytes, str]:
        parts = [os.urandom(size) for _ in range(who["chunks"])]
        return b"".join(parts), merkle.root_of(parts).hex()

    (weights, weights_root), (curvature, curvature_root) = points(who["weightBytes"]), points(who["curvatureBytes"])
    said = predicates.ModelCommitment(
        client=who["uuid"],
        model=LogRef.model_validate(who["model"]),
        circuit=LogRef.model_validate(who["circuit"]),
        chunks=who["chunks"],
        weights_sha256=hashlib.sha256(weights).hexdigest(),
        weights_root=weights_root,
        curvature_sha256=hashlib.sha256(curvature).hexdigest(),
        curvature_root=curvature_root,
        other_tensors_sha256="ab" * 32,
    )
    return [weights, curvature], sign_statement(said, key).to_bytes()


def asker(address: str, key: Any, tally: Tally) -> Callable[[str, str, str, bytes], None]:
    """A function that makes one request on a kept connection, and notes how long it took."""
    import httpx2

    from ledger.statements import httpsig

    # Shorter than the 2 s after which gunicorn closes an idle connection, perhaps while a request is on its way.
    http = httpx2.Client(timeout=60, limits=httpx2.Limits(keepalive_expiry=1.0))

    def ask(kind: str, method: str, path: str, body: bytes) -> None:
        headers = {} if key is None else httpsig.sign_request(method, address + path, body, key)
        begin = time.monotonic()
        try:
            answer = http.request(method, address + path, content=body, headers=headers)
        except httpx2.HTTPError as error:
            tally.errors += 1
            tally.first_error = tally.first_error or f"{kind}: {error!r}"
            return
        tally.add(kind, time.monotonic() - begin)
        if answer.status_code >= 300:
            tally.errors += 1
            tally.first_error = tally.first_error or f"{kind}: {answer.status_code} {answer.text[:300]}"

    return ask


def report(bare: Tally, loaded: Tally, clients: int, seconds: float) -> None:
    """A line for each kind of request, and the JSON line."""
    print(f"{clients} clients at once, {seconds:.0f} s per round, {os.cpu_count()} cores for server and generator")
    print(f"{'':18}{'requests/s':>12}{'median ms':>12}{'p99 ms':>10}{'requests':>10}")
    everything = [value for values in loaded.seconds.values() for value in values]
    checkpoints = bare.seconds.get("GET /checkpoint", [])
    print(line("GET /checkpoint", checkpoints, seconds) + "   baseline")
    for kind, values in loaded.seconds.items():
        print(line(kind, values, seconds))
    print(line("all of a client's", everything, seconds))
    errors = bare.errors + loaded.errors
    if errors:
        print(f"{errors} errors, the first: {bare.first_error or loaded.first_error}")
    print(
        json.dumps(
            {
                "requests_per_second": round(len(everything) / seconds, 1),
                "p99_ms": round(serving.p99(everything) * 1000, 1),
                "clients": clients,
                "errors": errors,
                "baseline_requests_per_second": round(len(checkpoints) / seconds, 1),
                "baseline_p99_ms": round(serving.p99(checkpoints) * 1000, 1),
            }
        )
    )


def line(name: str, values: list[float], seconds: float) -> str:
    """One row of the table."""
    middle = statistics.median(values) * 1000 if values else 0.0
    return f"{name:18}{len(values) / seconds:12.1f}{middle:12.1f}{serving.p99(values) * 1000:10.1f}{len(values):10}"


if __name__ == "__main__":
    main()
