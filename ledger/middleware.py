"""HTTP headers that Django does not set itself, the language of pages, and a name for every request."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable
from typing import Final

from django.conf import settings
from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse
from django.utils import translation
from django.utils.cache import patch_vary_headers

from ledger import logs, traces

POLICY: Final = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; frame-ancestors 'none'; form-action 'self'; "
    "base-uri 'none'"
)
#: The console's theme keeps behaviour in attributes, which Alpine.js compiles, and colours in a style element.
#: Scripts inside pages stay forbidden there too. See docs/decisions/0058-console-theme.md.
CONSOLE_POLICY: Final = f"{POLICY}; script-src 'self' 'unsafe-eval'; style-src 'self' 'unsafe-inline'"
#: What browsers could lend to a page and this one never asks for. Passkeys are not in the list: they are used.
PERMISSIONS: Final = "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), serial=(), usb=()"
_CONSOLE: Final = "/admin/"

REQUEST_ID: Final = "X-Request-Id"
_GIVEN_ID: Final = re.compile(r"[0-9A-Za-z._-]{8,64}")


def named(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[..., HttpResponse]:
    """Gives the request an id, which stands in all its log lines, those of the jobs it starts, and its answer.

    The proxy's id is kept where there is a proxy (LEDGER_HTTPS), and its trace goes on. The line about the request
    names the address's pattern and not the address, in which links to exports carry their right to be read.
    """

    def respond(request: HttpRequest) -> HttpResponse:
        given = request.headers.get(REQUEST_ID, "") if settings.HTTPS else ""
        name = given if _GIVEN_ID.fullmatch(given) else str(uuid.uuid4())
        started = time.perf_counter()
        above = request.headers.get(traces.PARENT) if settings.HTTPS else None
        with (
            traces.span(request.method or "", server=True, parent=above) as span,
            logs.about(request=name, **traces.current()),
        ):
            response = get_response(request)
            spent = round((time.perf_counter() - started) * 1000, 1)
            route = request.resolver_match.route if request.resolver_match else None
            what = {"method": request.method, "route": route, "status": response.status_code, "ms": spent}
            logs.HTTP.info("request", extra=what | {"who": _who(request)})
            traces.answered(span, request.method or "", route, response.status_code)
        response.headers[REQUEST_ID] = name
        return response

    return respond


def _who(request: HttpRequest) -> str | None:
    """Whoever asked, by number: "officer 5" or "client UUID"; None for strangers."""
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return None
    return f"client {user.pk}" if hasattr(user, "client") else f"officer {user.pk}"


def headers(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[..., HttpResponse]:
    """Only our own scripts, styles and images may load (Content Security Policy Level 3), and no page of another
    site may read or embed ours.
    """

    def respond(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        console = request.path.startswith(_CONSOLE)
        response.headers.setdefault("Content-Security-Policy", CONSOLE_POLICY if console else POLICY)
        response.headers.setdefault("Permissions-Policy", PERMISSIONS)
        if console:  # what officers see stays in no cache, unless the page itself says otherwise
            response.headers.setdefault("Cache-Control", "private, no-store")
            response.headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
        return response

    return respond


def nul_refused(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Nothing is called by a name with a NUL, which PostgreSQL's text cannot hold; so no such name is looked up."""

    def respond(request: HttpRequest) -> HttpResponse:
        if "\0" in request.path:
            raise BadRequest(
                "got a NUL character in the address, expected one that was made from our links or names"
            )
        return get_response(request)

    return respond


def language(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """The console speaks the language that was chosen on it, else the browser's; everything else speaks English.

    Answers of the REST interface are read by programs, and stored for repetition: they must not depend on headers.
    """

    def respond(request: HttpRequest) -> HttpResponse:
        console = request.path.startswith(_CONSOLE)
        chosen = translation.get_language_from_request(request) if console else settings.LANGUAGE_CODE
        with translation.override(chosen):
            response = get_response(request)
            if console:
                patch_vary_headers(response, ("Accept-Language",))
                response.headers.setdefault("Content-Language", chosen)
        return response

    return respond
