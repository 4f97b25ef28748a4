"""`make bench B=load`: a thousand clients in an hour, on one machine that serves, verifies and asks.

A gunicorn of two processes with eight threads, one worker of all queues with its beat, and an embedded PostgreSQL
(fsync on) run from a temporary folder. Clients come one after the other, evenly spread, whether the ones before are
done or not. Each obeys its order as an agent does, over HTTP and signed: reads it, uploads its points, logs its
claim, waits until the log has drawn the challenge, uploads a proof file in parts, logs the statement about it, and
waits for the verdict. It uses the agent's own HTTP code, which comes again when the server is busy.

What is real: every statement, upload, signature, challenge, job and verdict. What is not: the proof file holds
random bytes, for a thousand real proofs would take the machine hours to make. The verifier opens the case with all
its files and rejects it when it cannot read the proofs. `make bench B=demo` says what a real verification costs.

`lost` counts what was acknowledged and is not there in the end: statements that do not stand in the log under the
index that was told, proofs without a verdict, uploads without their file. `memory_growth_mb` is how much more all
server processes together held in the last fifth of the time than in the second (the first is warming up), as PSS.
`--plot FILE.svg` draws latency, clients under way, and memory over time. The last line is JSON.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import serving

PER_HOUR = 1000
MOST_MINUTES = 120
PART = 64 * 1024
BUNDLE = 4 * PART + 1_000  # bytes of a proof file: five parts
SAMPLE_SECONDS = 5.0
PATIENCE = 600.0  # seconds that a client waits for the log's challenge, and for the verdict


@dataclass
class Seen:
    """What all clients have seen together."""

    requests: list[tuple[float, float]] = field(default_factory=list)  # when, how long; seconds
    told: dict[int, str] = field(default_factory=dict)  # leaf hashes by index
    waits: list[float] = field(default_factory=list)  # from the proof's statement to the verdict
    stored: list[str] = field(default_factory=list)  # SHA-256 of uploads
    done: int = 0
    errors: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


def main() -> None:
    """Set up, run, count, print."""
    parser = argparse.ArgumentParser(description="Load of a thousand clients an hour.")
    parser.add_argument("--minutes", type=float, default=60, help=f"how long (default 60, at most {MOST_MINUTES})")
    parser.add_argument("--per-hour", type=int, default=PER_HOUR, help=f"clients (default {PER_HOUR})")
    parser.add_argument("--plot", type=Path, help="SVG file to draw")
    options = parser.parse_args()
    minutes = min(options.minutes, MOST_MINUTES)
    clients = max(1, round(min(options.per_hour, 20_000) * minutes / 60))
    with tempfile.TemporaryDirectory(prefix="bench-load-") as name, ExitStack() as stack:
        folder = Path(name)
        cast = set_up(folder, clients)
        stack.callback(serving.stop, folder)
        address = stack.enter_context(serving.server(folder))
        stack.enter_context(_worker(folder))
        seen, memory = Seen(), Memory()
        started = time.monotonic()
        with memory.watched():
            run(address, cast, seen, minutes * 60)
        took = time.monotonic() - started
        figures = count(cast, seen, memory, took)
        tell(figures, seen, memory, took)
        if options.plot:
            plot(options.plot, seen, memory, started)
        print(json.dumps(figures))


def set_up(folder: Path, clients: int) -> list[dict[str, Any]]:
    """A ledger with a real circuit, a model, a mask, and an order for each client; what each needs to know."""
    serving.new_ledger(folder, "benchmarks.api_settings")
    print(f"setting up {clients} clients", file=sys.stderr)
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    from django.db import connections

    from ledger import log
    from ledger.workflow import windows
    from prover_worker import release
    from prover_worker.ezkl_backend import EzklBackend
    from tests.ledger import story as scenes
    from unlearning.maskfile import format_mask

    made = release.build(
        EzklBackend(), scenes.PARAMETERS.model_copy(update=_SMALLEST | {"form": release.FORM}), folder / "release"
    )

    class RealStory(scenes.Story):
        def circuit_release(self) -> Any:
            return made

    (folder / "model").mkdir()
    story = RealStory(folder / "model")
    parties = {party.uuid: party for party in (story.party(f"client {number}") for number in range(clients))}
    window = story.closed_window()
    chunk = made[0].parameters.blocks * made[0].parameters.block_size
    windows.publish_mask(window.uuid, format_mask(scenes.TOTAL, [1, 9], chunk), 2, scenes.TOTAL, {"seed": 0})
    window.refresh_from_db()
    log.publish_checkpoint()
    cast = [
        {
            "uuid": uuid,
            "key": parties[uuid].key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption()),
            "order": str(order.uuid),
            "ref": log.entry_ref(order.entry).model_dump(by_alias=True),
            "chunks": scenes.CHUNKS,
        }
        for order in window.orders.select_related("client_model", "entry")
        for uuid in [str(order.client_model.client_id)]
    ]
    connections.close_all()
    return cast


#: The circuit of `tests/ledger/story.py` made provable: rows enough for its lookup table and salts.
_SMALLEST = {"logrows": 10, "salt_rows": 12, "grid_bits": 20}


def run(address: str, cast: list[dict[str, Any]], seen: Seen, seconds: float) -> None:
    """Start each client at its time; return when all are done.

    The first one goes alone, before the time begins: SystemExit if it fails, as then all would.
    """
    client(address, cast[0], seen)
    if seen.errors:
        raise SystemExit(f"the first client failed: {seen.errors[0]}")
    threads, begin = [], time.monotonic()
    for number, who in enumerate(cast[1:]):
        pause = begin + seconds * number / (len(cast) - 1) - time.monotonic()
        if pause > 0:
            time.sleep(pause)
        thread = threading.Thread(target=client, args=(address, who, seen))
        thread.start()
        threads.append(thread)
    for thread in threads:
        thread.join()


def client(address: str, who: dict[str, Any], seen: Seen) -> None:
    """One client's whole part."""
    try:
        wait = _obey(address, who, seen)
    except Exception as error:  # noqa: BLE001 - counted, and told in the end
        with seen.lock:
            seen.errors.append(f"{type(error).__name__}: {error}")
        return
    with seen.lock:
        seen.done += 1
        seen.waits.append(wait)


def _obey(address: str, who: dict[str, Any], seen: Seen) -> float:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from ledger.statements import predicates
    from ledger.statements.predicates.base import LogRef
    from ledger.statements.statement import sign_statement
    from ledger.tlog import merkle

    key = Ed25519PrivateKey.from_private_bytes(who["key"])
    ask = _asker(address, key, seen)

    def points(size: int, count: int) -> tuple[str, str]:
        parts = [os.urandom(size) for _ in range(count)]
        data = b"".join(parts)
        ask("PUT", f"blobs/{_digest(data)}", content=data, headers={"Content-Type": "application/octet-stream"})
        seen.stored.append(_digest(data))
        return _digest(data), merkle.root_of(parts).hex()

    def state(predicate: predicates.Predicate) -> None:
        said = ask("POST", "statements", content=sign_statement(predicate, key).to_bytes()).json()
        seen.told[said["index"]] = said["leafHash"]

    order = ask("GET", f"orders/{who['order']}").json()
    assert order["state"] == "issued", order["state"]
    (weights, weights_root), (solution, solution_root) = points(32, who["chunks"]), points(64, 2)
    state(
        predicates.Claim(
            order=LogRef.model_validate(who["ref"]), client=who["uuid"], attempt=1, weights_sha256=weights,
            weights_root=weights_root, solution_sha256=solution, solution_root=solution_root,
            other_tensors_sha256="ab" * 32,
        )
    )  # fmt: skip
    order = _await(ask, who, "challenged")
    bundle = os.urandom(BUNDLE)
    _upload(ask, bundle)
    seen.stored.append(_digest(bundle))
    state(
        predicates.Proof(
            claim=LogRef.model_validate(order["claim"]),
            challenge=LogRef.model_validate(order["challenge"]["ref"]),
            client=who["uuid"], bundle_sha256=_digest(bundle),
        )
    )  # fmt: skip
    began = time.monotonic()
    _await(ask, who, "rejected")
    return time.monotonic() - began


def _upload(ask: Any, data: bytes) -> None:
    """In parts, as large files go."""
    begun = ask("POST", "uploads", json={"sha256": _digest(data), "size": len(data), "partSize": PART}).json()
    for number in range(begun["parts"]):
        part = data[number * PART : (number + 1) * PART]
        kind = {"Content-Type": "application/octet-stream"}
        ask("PUT", f"uploads/{begun['id']}/parts/{number + 1}", content=part, headers=kind)
    ask("POST", f"uploads/{begun['id']}/complete", json={})


def _await(ask: Any, who: dict[str, Any], state: str) -> Any:
    """Ask again, as agents do, until the order is in this state."""
    deadline, pause = time.monotonic() + PATIENCE, 0.5
    while True:
        order = ask("GET", f"orders/{who['order']}").json()
        if order["state"] == state:
            return order
        if time.monotonic() > deadline:
            raise TimeoutError(f"an order was {order['state']} for {PATIENCE:.0f} s, expected {state}")
        time.sleep(pause)
        pause = min(15.0, pause * 1.5)


def _asker(address: str, key: Any, seen: Seen) -> Any:
    """The agent's HTTP client, each single request of which is noted."""
    from prover_worker.ledger_http import LedgerHttp

    class Timed(LedgerHttp):
        def _once(self, method: str, path: str, arguments: dict[str, Any]) -> Any:
            began = time.monotonic()
            try:
                return super()._once(method, path, arguments)
            finally:
                seen.requests.append((began, time.monotonic() - began))

    return Timed(address, key).request


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@contextmanager
def _worker(folder: Path) -> Iterator[int]:
    """One worker of all queues, as `manage.py serve` starts it; its pid."""
    command = ["-m", "celery", "-A", "prover_worker.celery", "worker", "-B", "-c", "1", "-l", "warning"]
    with (folder / "worker.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, *command], stdout=log, stderr=log, env=os.environ | {"OMP_NUM_THREADS": "1"}
        )
        try:
            yield process.pid
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(60)
            process.kill()


class Memory:
    """What the server's processes hold, every few seconds, in MB: everything below this process but PostgreSQL."""

    def __init__(self) -> None:
        self.samples: list[tuple[float, float]] = []
        self._over = threading.Event()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Take samples while the body runs."""
        thread = threading.Thread(target=self._watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()

    def _watch(self) -> None:
        while not self._over.wait(SAMPLE_SECONDS):
            self.samples.append((time.monotonic(), self._now()))

    def _now(self) -> float:
        import psutil

        total = 0
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                if "postgres" not in child.name():
                    total += child.memory_full_info().pss
        return total / 1e6

    def growth(self) -> float:
        """Last fifth less second fifth."""
        values = [value for _, value in self.samples]
        fifth = len(values) // 5
        if not fifth:
            return 0.0
        return statistics.fmean(values[-fifth:]) - statistics.fmean(values[fifth : 2 * fifth])


def count(cast: list[dict[str, Any]], seen: Seen, memory: Memory, took: float) -> dict[str, Any]:
    """The figures; what was lost, by the database."""
    from ledger import blobs
    from ledger.models import LogEntry, VerdictRecord

    held = {
        row.index: bytes(row.leaf_hash).hex() for row in LogEntry.objects.filter(index__in=seen.told).iterator()
    }
    lost = sum(held.get(index) != leaf for index, leaf in seen.told.items())
    lost += sum(not blobs.there(name) for name in seen.stored)
    lost += seen.done - min(seen.done, VerdictRecord.objects.count()) + len(seen.errors)
    return {
        "clients": len(cast),
        "submissions_per_hour": round(seen.done / took * 3600, 1),
        "api_p99_ms": round(serving.p99([seconds for _, seconds in seen.requests]) * 1000, 1),
        "lost": lost,
        "memory_growth_mb": round(memory.growth(), 1),
    }


def tell(figures: dict[str, Any], seen: Seen, memory: Memory, took: float) -> None:
    """In words."""
    values = [seconds for _, seconds in seen.requests]
    print(f"{figures['clients']} clients in {took / 60:.1f} minutes, {seen.done} done, {len(seen.errors)} failed")
    print(
        f"{len(values)} requests, median {statistics.median(values) * 1000:.1f} ms, p99 {figures['api_p99_ms']} ms"
    )
    if seen.waits:
        middle, long = statistics.median(seen.waits), serving.p99(seen.waits)
        print(f"from proof to verdict: median {middle:.1f} s, p99 {long:.1f} s")
    if memory.samples:
        first, last = memory.samples[0][1], memory.samples[-1][1]
        print(f"memory of web and worker: {first:.0f} MB at first, {last:.0f} MB at last")
    for error in seen.errors[:3]:
        print(f"failed: {error[:300]}")


def plot(path: Path, seen: Seen, memory: Memory, started: float) -> None:
    """Latency by minute, and memory, over time."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt

    with plt.rc_context({"svg.hashsalt": "load", "svg.fonttype": "none", "font.size": 9}):
        figure, (upper, lower) = plt.subplots(2, 1, sharex=True, figsize=(6.4, 5.2))
        minutes: dict[int, list[float]] = {}
        for at, seconds in seen.requests:
            minutes.setdefault(int((at - started) // 60), []).append(seconds * 1000)
        shown = sorted(minutes)
        upper.plot(shown, [statistics.median(minutes[m]) for m in shown], label="median")
        upper.plot(shown, [serving.p99(minutes[m]) for m in shown], label="99th percentile")
        upper.set_ylabel("request, ms")
        upper.legend()
        times = [(at - started) / 60 for at, _ in memory.samples]
        lower.plot(times, [value for _, value in memory.samples])
        lower.set_ylabel("web and worker, MB")
        lower.set_xlabel("minutes")
        lower.set_ylim(bottom=0)
        for area in (upper, lower):
            area.grid(alpha=0.3)
        figure.tight_layout()
        figure.savefig(path, metadata={"Date": None})
        plt.close(figure)


if __name__ == "__main__":
    main()
