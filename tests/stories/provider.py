"""The provider of the stories: a real server with a worker and PostgreSQL in a folder, and its officers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
import uuid
from pathlib import Path
from typing import Any, Self

import httpx2

from ledger.services import free_port
from tests.stories.nursery import ROOT, await_that

OFFICERS = ("olga", "pieter")
#: People who may do what their roles say; each belongs to one story, which may give them second factors.
STAFF = {"wanda": "officer", "nora": "officer,approver", "mina": "approver", "audrey": "auditor"}
PASSWORD = "a long password of the stories"
FORGOTTEN_CLASS = 8
SUBJECT = "ada.lovelace@example.org"
SWEEP_SECONDS = 3  # nobody here waits a quarter of a minute for the beat's round


class RefusedError(AssertionError):
    """The server's answer was no success: a problem document."""

    def __init__(self, response: httpx2.Response) -> None:
        super().__init__(f"{response.request.method} {response.request.url.path}: {response.text[:500]}")
        self.status = response.status_code
        self.problem = response.json()


class Officer:
    """What an officer does over the REST interface."""

    def __init__(self, address: str, name: str) -> None:
        self._http = httpx2.Client(base_url=f"{address}/api/v1/", auth=(name, PASSWORD), timeout=60)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def get(self, path: str) -> Any:
        return self._answer(self._http.get(path))

    def fetch(self, path: str) -> bytes:
        """A file."""
        answer = self._http.get(path)
        assert answer.status_code == 200, answer.text
        return answer.content

    def post(self, path: str, **body: Any) -> Any:
        return self._answer(self._http.post(path, json=body))

    def put(self, path: str, **body: Any) -> Any:
        return self._answer(self._http.put(path, json=body))

    def patch(self, path: str, **body: Any) -> Any:
        return self._answer(self._http.patch(path, json=body))

    @staticmethod
    def _answer(response: httpx2.Response) -> Any:
        if not response.is_success:
            raise RefusedError(response)
        return response.json()

    # the steps of nearly every story

    def file_request(self, **more: Any) -> str:
        """A person asks that class 8 of the digits be forgotten."""
        forget = {"dataset": "digits", "class": FORGOTTEN_CLASS}
        subject = f"{SUBJECT}, case {uuid.uuid4().hex[:8]}"  # a person of its own: duplicates are refused
        request = self.post("requests", **{"regulation": "gdpr", "subject": subject, "forget": forget} | more)
        return request["uuid"]

    def approve(self, request: str) -> None:
        self.post(f"requests/{request}/identity", method="email-link", result="verified")
        self.post(f"requests/{request}/decision", decision="approved", reason="identity-verified")

    def close_window(self, model: str, *requests: str, **more: Any) -> str:
        """Open a window with these requests, close it, and wait for its mask and orders."""
        window = self.post("windows", model=model, requests=list(requests), **more)["uuid"]
        self.post(f"windows/{window}/close")
        self.await_window(window, "masked", "settled")
        return window

    def await_window(self, window: str, *states: str) -> Any:
        """Wait until the window is in one of these states."""

        def arrived() -> bool:
            answer = self.get(f"windows/{window}")
            failed = [job for job in answer["jobs"] if job["state"] == "failed"]
            assert not failed, failed
            return answer["state"] in states

        await_that(arrived, 120.0, lambda: self.get(f"windows/{window}"))
        return self.get(f"windows/{window}")

    def await_order(self, window: str, state: str) -> None:
        """Wait until the only order of the window is in this state."""

        def states() -> list[str]:
            return [order["state"] for order in self.get(f"windows/{window}")["orders"]]

        await_that(lambda: states() == [state], 60.0, states)


class Provider:
    """Context manager: the server of a data folder, its logs in data/logs."""

    def __init__(self, folder: Path, release: Path) -> None:
        self.data, self.release = folder / "data", release
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self._server: subprocess.Popen[bytes] | None = None
        self._out = folder / "server.txt"
        self.data.mkdir(parents=True, exist_ok=True)
        people = [*OFFICERS, *(f"{name}:{roles}" for name, roles in STAFF.items())]
        self._founded = self._run([sys.executable, "-m", "tests.stories.founding", str(release), PASSWORD, *people])
        self.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()  # and with the last of its processes the database

    def start(self) -> None:
        """Web server and worker, at the same address as before."""
        with self._out.open("ab") as out:
            self._server = subprocess.Popen(
                [sys.executable, "manage.py", "serve", "--port", str(self.port)], cwd=ROOT, env=self._environment(),
                stdout=out, stderr=out,
            )  # fmt: skip
        await_that(self._answers, 60.0, self._out.read_text)

    def stop(self) -> None:
        """End both, as an operator would."""
        assert self._server is not None
        self._server.send_signal(signal.SIGTERM)
        self._server.wait(60)

    def officer(self, name: str = OFFICERS[0]) -> Officer:
        return Officer(self.address, name)

    def register_model(self, folder: Path, name: str, budget: float = 0.04) -> str:
        """A global model of its own for a story: a model has one uncertified window at a time."""
        options = ["--name", name, "--dataset", "digits", "--block-size", "16", "--budget", str(budget)]
        return self.manage("register_model", str(folder), *options).split()[1]

    def manage(self, *command: str) -> str:
        """A management command's output. Raises where it fails."""
        return self._run([sys.executable, "manage.py", *command])

    @property
    def public_keys(self) -> tuple[str, str]:
        """What the provider publishes elsewhere: the log's verifier key and its own key. No story rotates them."""
        said = dict(line.split(": ", 1) for line in self._founded.splitlines() if ": " in line)
        return said["log key"], said["provider key"]

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.address}/api/v1/releases", timeout=5):
                return True
        except (urllib.error.URLError, OSError):
            return False

    def _environment(self) -> dict[str, str]:
        others = {"DATABASE_URL", "CELERY_BROKER_URL"}
        kept = {name: value for name, value in os.environ.items() if name not in others}
        quick = {"LEDGER_SWEEP_SECONDS": str(SWEEP_SECONDS)}
        return kept | quick | {
            "LEDGER_DATA_DIR": str(self.data), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1",
        }  # fmt: skip

    def _run(self, command: list[str]) -> str:
        done = subprocess.run(
            command, cwd=ROOT, env=self._environment(), capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return done.stdout


def audit(bundle: bytes, path: Path, *, log_vkey: str, provider_key: str) -> tuple[int, str]:
    """The offline verifier as an outsider runs it: exit status, what it said."""
    path.write_bytes(bundle)
    command = [sys.executable, "-m", "prover_worker.audit", str(path)]
    command += ["--log-vkey", log_vkey, "--provider-key", provider_key]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout + done.stderr
