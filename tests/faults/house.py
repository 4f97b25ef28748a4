"""A provider whose every process can be killed, on real services, with something that starts them anew.

| process | what it is |
|---|---|
| web | gunicorn with two workers |
| ledger | the worker of short work: sweeps, challenges, webhooks, reports; with the beat |
| prover | the worker that computes masks and verifies proofs |
| witness | a witness, behind a proxy that sees what it is asked |

A supervisor starts what has died, as systemd or Kubernetes would. Nothing else helps: what resumes, resumes by
itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx2
import psutil
import psycopg

from tests.ledger.witness.parts import WitnessProcess
from tests.services import Postgres, Service, Swift
from tests.stories.nursery import ROOT, await_that
from tests.stories.provider import OFFICERS, PASSWORD, Officer, Provider
from tests.stories.proxy import Answer, Proxy, Request

_CELERY = ["-m", "celery", "-A", "prover_worker.celery", "worker", "-l", "info", "-c"]
COMMANDS = {
    "ledger": [*_CELERY, "1", "-Q", "ledger,webhooks,reports", "-B", "-n", "ledger@h"],
    "prover": [*_CELERY, "1", "-Q", "masking,verification", "-n", "prover@h"],
}


class PatientOfficer(Officer):
    """Asks again while the server is away; what it posts has a key, so that twice is once."""

    def __init__(self, address: str, name: str) -> None:
        super().__init__(address, name)
        self._http.close()
        self._http = _PatientHttp(base_url=f"{address}/api/v1/", auth=(name, PASSWORD), timeout=60)


class _PatientHttp(httpx2.Client):
    def request(self, method: str, url: Any, **given: Any) -> httpx2.Response:
        headers = {"Idempotency-Key": os.urandom(12).hex()} if method == "POST" else {}
        deadline = time.monotonic() + 90
        while True:
            try:
                answer = super().request(method, url, **given | {"headers": headers})
            except httpx2.TransportError:
                if time.monotonic() > deadline:
                    raise
            else:
                busy = answer.status_code == 409 and "in-flight" in answer.text
                if not (busy or answer.status_code in {502, 503}) or time.monotonic() > deadline:
                    return answer
            time.sleep(0.5)


class House(Provider):
    """Context manager. `files`: where blobs lie, instead of the data folder."""

    def __init__(
        self, folder: Path, release: Path, database: Postgres, broker: Service, files: Swift | None = None
    ) -> None:
        self.database, self.broker, self.files = database, broker, files
        self.more: dict[str, str] = {}  # environment of processes that start from now on
        self.acknowledged: dict[int, str] = {}  # leaf hashes by index, as clients were told
        self.requests: list[str] = []
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._resting: set[str] = set()
        self._over = threading.Event()
        self.logs = folder
        super().__init__(folder, release)

    # processes

    def start(self) -> None:
        """Witness first, then everything else; then the supervisor."""
        log_key = self.public_keys[0]
        self.witness = WitnessProcess(self.logs / "witness", log_key)
        self._witness_port = int(self.witness.url.rsplit(":", 1)[1].strip("/"))
        self.witness_proxy = Proxy(self._witness_port).__enter__()
        self.proxy = Proxy(self.port).__enter__()
        self.proxy.after = self.note
        web = [
            "-m",
            "gunicorn",
            "ledger.wsgi",
            "-b",
            f"127.0.0.1:{self.port}",
            "-w",
            "2",
            "--threads",
            "4",
            "-t",
            "60",
        ]
        self.commands = {"web": web, **COMMANDS}
        for name in self.commands:
            self._spawn(name)
        threading.Thread(target=self._supervise, daemon=True).start()
        await_that(self._answers, 90.0, lambda: (self.logs / "web.txt").read_text()[-3000:])

    def stop(self) -> None:
        self._over.set()
        for name in self._processes:
            self.kill(name, signal.SIGTERM)
        for process in self._processes.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        self.witness.kill()
        self.witness_proxy.__exit__()
        self.proxy.__exit__()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """A process and its children at once, as a power failure would. Services are started anew at once."""
        if name == "witness":
            log_key = self.public_keys[0]
            self.witness.kill()
            self.witness = WitnessProcess(self.logs / "witness", log_key, self._witness_port)
        elif name in {"database", "broker"}:
            service: Service = getattr(self, name)
            service.kill()
            service.start()
        else:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._processes[name].pid, number)

    def restart(self, **environment: str) -> None:
        """All processes anew, in another environment."""
        self.more = environment
        for name in self.commands:
            self.kill(name)
        time.sleep(1)
        await_that(self._answers, 90.0, lambda: (self.logs / "web.txt").read_text()[-3000:])

    def rest(self, name: str) -> None:
        """Down, until `wake`."""
        self._resting.add(name)
        self.kill(name)
        self._processes[name].wait(30)

    def wake(self) -> None:
        """The supervisor starts whatever rests."""
        self._resting.clear()
        await_that(self._answers, 90.0, lambda: (self.logs / "web.txt").read_text()[-3000:])

    def children(self, name: str) -> list[int]:
        return [child.pid for child in psutil.Process(self._processes[name].pid).children(recursive=True)]

    def add(self, name: str, like: str, *changes: tuple[str, str]) -> None:
        """One more process like another, with some words of its command changed."""
        self.commands[name] = [dict(changes).get(word, word) for word in self.commands[like]]
        self._resting.discard(name)
        self._spawn(name)

    def remove(self, name: str) -> None:
        """A process that was added."""
        self.rest(name)
        del self.commands[name], self._processes[name]

    def _spawn(self, name: str) -> None:
        with (self.logs / f"{name}.txt").open("ab") as out:
            self._processes[name] = subprocess.Popen(
                [sys.executable, *self.commands[name]], cwd=ROOT, env=self._environment(), stdin=subprocess.DEVNULL,
                stdout=out, stderr=out, start_new_session=True,
            )  # fmt: skip

    def _supervise(self) -> None:
        while not self._over.wait(0.2):
            for name, process in list(self._processes.items()):
                if process.poll() is not None and name not in self._resting and not self._over.is_set():
                    self._spawn(name)

    def _environment(self) -> dict[str, str]:
        given = super()._environment() | {
            "DATABASE_URL": self.database.url,
            "CELERY_BROKER_URL": self.broker.url,  # type: ignore[attr-defined]
            "LEDGER_JOB_LEASE_SECONDS": "6",
            "LEDGER_SWEEP_SECONDS": "2",
        }
        if self.files is not None:
            given |= {"LEDGER_BLOB_STORE": self.files.url, **Swift.CREDENTIALS}
        if hasattr(self, "witness_proxy"):
            given["LEDGER_WITNESSES"] = f"{self.witness_proxy.address} {self.witness.vkey}"
        return given | self.more

    # people

    def officer(self, name: str = OFFICERS[0]) -> Officer:
        return PatientOfficer(self.address, name)

    # the reckoning

    def note(self, request: Request, answer: Answer) -> Answer:
        """Remember what a client was told that stands in the log."""
        if request.states and answer.status in {200, 201}:
            said = json.loads(answer.body)
            self.acknowledged[int(said["index"])] = said["leafHash"]
        return answer

    def rows(self, query: str) -> list[Any]:
        """Of the database, as its administrator; nothing while it is away."""
        try:
            with psycopg.connect(self.database.url, autocommit=True, connect_timeout=5) as connection:
                return connection.execute(query).fetchall()
        except psycopg.OperationalError:
            return []

    def begun(self, kind: str) -> int:
        """How many jobs of this kind are under way or over."""
        found = self.rows(f"SELECT count(*) FROM ledger_job WHERE kind = '{kind}' AND state <> 'queued'")
        return sum(count for (count,) in found)

    def lost(self) -> list[str]:
        """What was promised to somebody and is not there."""
        held = {
            index: bytes(value).hex() for index, value in self.rows("SELECT index, leaf_hash FROM ledger_logentry")
        }
        known = {str(row[0]) for row in self.rows("SELECT uuid FROM ledger_deletionrequest")}
        entries = [f"entry {i}" for i, value in self.acknowledged.items() if held.get(i) != value]
        return entries + [f"request {uuid}" for uuid in self.requests if uuid not in known]

    def fsck(self) -> None:
        """Raises where log and tables do not hold."""
        assert "entries hold" in self.manage("fsck", "--jobs", "1")
