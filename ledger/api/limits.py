"""Sizes are refused by what a request announces, before its body is read."""

from __future__ import annotations

from typing import Final

from django.core.exceptions import ImproperlyConfigured
from rest_framework.request import Request
from rest_framework.throttling import ScopedRateThrottle
from rest_framework.views import APIView

from ledger.workflow.errors import WorkflowError


def refuse_larger(request: Request, limit: int, what: str) -> None:
    """413 if the body has more than `limit` bytes. Without a Content-Length there is no body (WSGI)."""
    announced = request.headers.get("Content-Length", "")
    if announced.isascii() and announced.isdigit() and int(announced[:20]) > limit:
        raise WorkflowError("too-large", f"{what} has at most {limit} bytes, got {announced[:20]}", 413)


class BadTokens(ScopedRateThrottle):
    """Refuses an address whose enrolment tokens were wrong too often of late; right ones do not count."""

    #: Refusals that whoever tries tokens at random would see.
    COUNTED: Final = frozenset({"unknown-token", "token-used", "token-expired"})
    scope = "bad-tokens"

    def __init__(self) -> None:
        """Without a view's own scope."""
        limit, duration = self.parse_rate(self.get_rate())
        if limit is None or duration is None:
            raise ImproperlyConfigured("DEFAULT_THROTTLE_RATES needs a rate for bad-tokens, as 10/hour")
        self.limit, self.seconds = limit, duration
        self.num_requests, self.duration = limit, duration

    def allow_request(self, request: Request, view: APIView) -> bool:
        """Look at the address's wrong tokens of the last hour, and count nothing."""
        self._read(request, view)
        return len(self.history) < self.limit

    def count(self, request: Request, view: APIView) -> None:
        """One more wrong token from this address."""
        self._read(request, view)
        self.throttle_success()

    def _read(self, request: Request, view: APIView) -> None:
        self.now = self.timer()
        self.key = self.get_cache_key(request, view)
        self.history = [at for at in self.cache.get(self.key, []) if at > self.now - self.seconds]
