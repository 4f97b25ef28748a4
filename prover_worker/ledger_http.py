"""Requests to one ledger: signed, and repeated while it is away or busy.

Every request of the agent may be sent twice without harm: statements and files are named by their content. So
what fails on the way is sent again, after a pause that grows, until `patience` seconds are over. A ledger that
says when to come back (Retry-After, RFC 9110 section 10.2.3) is not asked before.
"""

from __future__ import annotations

import email.utils
import logging
import random
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import httpx2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.statements.httpsig import client_hooks
from prover_worker.errors import AgentError, LedgerAway, Refused

logger = logging.getLogger(__name__)

Answer = TypeVar("Answer")

_BUSY: Final = frozenset({429, 502, 503, 504})
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
_LONGEST_WISH = 3600.0  # a server may ask for an hour; one that asks for more is asked again after one
PATIENCE: Final = 60.0


class LedgerHttp:
    """One server, one key. `patience`: how many seconds a request may take with all its repetitions."""

    def __init__(self, server: str, key: Ed25519PrivateKey | None = None, patience: float = PATIENCE) -> None:
        parts = urlsplit(server)
        if parts.scheme not in {"http", "https"} or not parts.netloc:
            raise AgentError(f"got {server!r} for a server; expected an address such as https://ledger.example")
        origin = f"{parts.scheme}://{parts.netloc}"
        hooks = client_hooks(origin, key).event_hooks if key else None
        self._patience = patience
        self._http = httpx2.Client(base_url=f"{origin}/api/v1/", timeout=60, event_hooks=hooks)
        weakref.finalize(self, self._http.close)  # `watch` makes one for every look, for weeks

    def request(self, method: str, path: str, **arguments: Any) -> httpx2.Response:
        """The answer, if it is one of success.

        Raises LedgerAway when the ledger is still away or busy at the end of the patience, Refused when it
        refuses.
        """
        return self._patiently(lambda: self._once(method, path, arguments))

    def fetch(self, path: str, tag: str) -> bytes:
        """A file of that entity tag, taken up where the line broke (RFC 9110 section 14), as often as it breaks.

        The patience starts anew when something has come. Raises as `request` does.
        """
        got = bytearray()
        while True:
            before = len(got)
            try:
                self._patiently(lambda: self._go_on(path, tag, got))
            except LedgerAway:
                if len(got) <= before:
                    raise
            else:
                return bytes(got)

    def _patiently(self, attempt: Callable[[], Answer]) -> Answer:
        deadline, pause = time.monotonic() + self._patience, _FIRST_PAUSE
        while True:
            try:
                return attempt()
            except LedgerAway as away:
                wait = pause if away.retry_after is None else away.retry_after
                if time.monotonic() + wait > deadline:
                    raise
                logger.warning("%s (again in %.1f s)", away, wait)
            time.sleep(wait)
            pause = min(_LONGEST_PAUSE, pause * 2) * random.uniform(0.8, 1.2)  # noqa: S311 - so that clients spread

    def _once(self, method: str, path: str, arguments: dict[str, Any]) -> httpx2.Response:
        with self._answer(method, path, arguments) as response:
            response.read()
        return response

    def _go_on(self, path: str, tag: str, got: bytearray) -> None:
        """Ask for what is missing in `got`. If the server sends all of it instead, that takes its place."""
        # Nobody on the way may pack it: ranges would be of the packed bytes.
        headers = {"Accept-Encoding": "identity"}
        if got:
            headers |= {"Range": f"bytes={len(got)}-", "If-Range": tag}
        with self._answer("GET", path, {"headers": headers}) as response:
            if response.status_code != HTTPStatus.PARTIAL_CONTENT:
                got.clear()
            for piece in response.iter_bytes():
                got += piece

    @contextmanager
    def _answer(self, method: str, path: str, arguments: dict[str, Any]) -> Iterator[httpx2.Response]:
        """An answer of success, whose body the block reads; what breaks there is the line's fault too."""
        began = time.monotonic()
        try:
            with self._http.stream(method, path, **arguments) as response:
                if not response.is_success:
                    response.read()
                    raise _refusal(method, path, response)
                yield response
        except httpx2.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise LedgerAway(
                f"cannot reach the ledger ({reason}); check the server's address and try again"
            ) from error
        logger.debug("%s %s: %d, %.2f s", method, path, response.status_code, time.monotonic() - began)


def retry_after(value: str | None, now: datetime | None = None) -> float | None:
    """Seconds of a Retry-After header, which holds seconds or a date; None where it makes no sense."""
    if not value:
        return None
    if value.isascii() and value.isdigit():
        return min(float(value[:9]), _LONGEST_WISH)
    try:
        until = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    if until.tzinfo is None:
        return None
    return min(max(0.0, (until - (now or datetime.now(UTC))).total_seconds()), _LONGEST_WISH)


def _refusal(method: str, path: str, response: httpx2.Response) -> LedgerAway | Refused:
    text = f"the ledger refused {method} {path} with {response.status_code}: {_detail(response)}"
    if response.status_code in _BUSY:
        return LedgerAway(text, retry_after(response.headers.get("Retry-After")))
    return Refused(text, response.status_code)


def _detail(response: httpx2.Response) -> str:
    try:
        return str(response.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return response.text[:200]
