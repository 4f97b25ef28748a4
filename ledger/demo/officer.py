"""The demonstration's officer: an account, and the REST API as that officer uses it."""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
from django.conf import settings
from django.contrib.auth import get_user_model


class DemoError(RuntimeError):
    """The demonstration cannot keep a promise; the text says which."""


def _file() -> Path:
    folder: Path = settings.LEDGER_DATA_DIR
    return folder / "demo-officer.json"


def known_officer() -> dict[str, str] | None:
    """Name and password of the demonstration's officer, where a demonstration was run in this data folder."""
    return json.loads(_file().read_text()) if _file().exists() else None


def ensure_officer() -> dict[str, str]:
    """Make the officer's account, with a random password kept in a file that only its owner can read."""
    officer = known_officer()
    if officer is None:
        officer = {"name": "officer", "password": secrets.token_urlsafe(15)}
        descriptor = os.open(_file(), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(officer, file)
    user, _ = get_user_model().objects.get_or_create(
        username=officer["name"], defaults={"is_staff": True, "is_superuser": True}
    )
    if not user.check_password(officer["password"]):
        user.set_password(officer["password"])
        user.save()
    return officer


class OfficerApi:
    """The officers' part of /api/v1."""

    def __init__(self, address: str, officer: dict[str, str]) -> None:
        self._http = httpx2.Client(
            base_url=f"{address}/api/v1/", auth=(officer["name"], officer["password"]), timeout=120
        )

    def post(self, path: str, **body: Any) -> dict[str, Any]:
        """POST and return the answer's JSON. Raises DemoError with the problem's sentence."""
        return self._answer(self._http.post(path, json=body))

    def get(self, path: str) -> dict[str, Any]:
        """GET and return the answer's JSON."""
        return self._answer(self._http.get(path))

    def fetch(self, path: str) -> bytes:
        """GET and return a file. Raises DemoError with the problem's sentence."""
        answer = self._http.get(path)
        if answer.status_code != 200:
            self._answer(answer)
        return answer.content

    def await_window(
        self, window: str, state: str, patience: float, look: Callable[[dict[str, Any]], None]
    ) -> dict[str, Any]:
        """Poll a window until it is in a state; `look` sees every answer. Raises DemoError."""
        deadline = time.monotonic() + patience
        while True:
            answer = self.get(f"windows/{window}")
            look(answer)
            failed = [job for job in answer["jobs"] if job["state"] == "failed"]
            if failed:
                raise DemoError(f"the {failed[0]['kind']} job failed: {failed[0]['error']}")
            if answer["state"] == state:
                return answer
            if time.monotonic() > deadline:
                raise DemoError(f"the window is {answer['state']} after {patience:.0f} s; expected {state}")
            time.sleep(0.5)

    @staticmethod
    def _answer(response: httpx2.Response) -> dict[str, Any]:
        if not response.is_success:
            detail = response.json().get("detail", response.text[:200])
            raise DemoError(f"{response.request.method} {response.request.url.path}: {detail}")
        return response.json()
