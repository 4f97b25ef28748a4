"""Guessing passwords, slowly: buckets of tries per address and per account, which all processes share.

Counting per account alone would let anybody lock an officer out by guessing at their name. So a browser in which an
account has logged in before carries a signed cookie, and its tries are counted apart (device cookies, as OWASP
describes them): strangers empty the strangers' bucket, and the owner still gets in. An unknown name is counted as a
known one, so that answers do not tell them apart.
"""

from __future__ import annotations

from typing import Any, Final

from django.conf import settings
from django.core import signing
from django.http import HttpResponse
from rest_framework.throttling import BaseThrottle

from ledger import logs
from ledger.access import rates

COOKIE: Final = "ledger-device"
_SALT: Final = "ledger.access.device"
_COOKIE_AGE: Final = 180 * 24 * 3600


def wait(request: Any, name: str) -> float | None:
    """Seconds until a password for this account may be tried again from there, None for now."""
    waits = [rates.exhausted(scope, who) for scope, who in _buckets(request, name)]
    return max((one for one in waits if one is not None), default=None)


def note_wrong(request: Any, name: str) -> None:
    """A wrong password. The name is not logged: people type passwords where names belong."""
    address = _address(request)
    logs.AUDIT.warning(
        "a password was refused, from %s", address, extra={"event": "login.refused", "address": address}
    )
    for scope, who in _buckets(request, name):
        rates.spend(scope, who)


def remember(response: HttpResponse, name: str) -> None:
    """The account has logged in in this browser."""
    response.set_cookie(
        COOKIE, signing.dumps(_norm(name), salt=_SALT), max_age=_COOKIE_AGE, httponly=True, samesite="Strict",
        secure=settings.SESSION_COOKIE_SECURE,
    )  # fmt: skip


def _buckets(request: Any, name: str) -> list[tuple[str, str]]:
    address = _address(request)
    known = _is_known(request, name)
    return [("bad-passwords", address), ("known-account" if known else "account", _norm(name))]


def _address(request: Any) -> str:
    return BaseThrottle().get_ident(request) or "unknown"


def _is_known(request: Any, name: str) -> bool:
    try:
        said = signing.loads(request.COOKIES.get(COOKIE, ""), salt=_SALT, max_age=_COOKIE_AGE)
    except signing.BadSignature:
        return False
    return bool(said == _norm(name))


def _norm(name: str) -> str:
    return name.strip().casefold()[:150]
