"""What all views of the REST interface do: limit callers, tag answers, tell who asks."""

from __future__ import annotations

from typing import Any

from rest_framework.exceptions import AuthenticationFailed, Throttled
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView

from ledger.access import rates
from ledger.api import etags


class ApiView(APIView):
    """Base of all views."""

    throttle_scope = "public"

    @property
    def caller(self) -> str | None:
        """Who asks, as "officer:ID" or "client:UUID"; None for everybody else."""
        user = self.request.user
        return f"officer:{user.pk}" if user is not None and user.is_authenticated else None

    def perform_authentication(self, request: Request) -> None:
        """Credentials that were wrong too often close the door to their address for a while."""
        if "Authorization" not in request.headers:
            super().perform_authentication(request)
            return
        self.refuse_exhausted("bad-passwords")
        try:
            super().perform_authentication(request)
        except AuthenticationFailed:
            if not request.headers["Authorization"].lower().startswith("basic"):  # passwords count themselves
                rates.spend("bad-passwords", self.address)
            raise

    def check_throttles(self, request: Request) -> None:
        """One bucket per client, per officer, and per address of everybody else."""
        del request  # it is self.request
        if self.caller is None:
            _refuse(rates.spend(self.throttle_scope, self.address))
        else:
            kind, _, name = self.caller.partition(":")
            _refuse(rates.spend(kind, name))

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        """JSON read by GET carries its entity tag; who has it already gets 304."""
        if request.method == "GET" and response.status_code == 200 and isinstance(response, Response):
            tag = etags.of(response.data)
            unchanged = etags.not_modified(self.request, tag)
            response = unchanged or response
            response["ETag"] = tag
            response.headers.setdefault("Cache-Control", "no-cache" if self.caller is None else "private, no-cache")
        return super().finalize_response(request, response, *args, **kwargs)

    def refuse_exhausted(self, scope: str) -> None:
        """429 while nothing is left in the address's bucket of that name."""
        _refuse(rates.exhausted(scope, self.address))

    @property
    def address(self) -> str:
        """Where the request comes from; behind proxies, what the last trusted one says."""
        return BaseThrottle().get_ident(self.request) or "unknown"


def _refuse(wait: float | None) -> None:
    if wait is not None:
        raise Throttled(wait)
