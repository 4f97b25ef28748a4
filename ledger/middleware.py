"""HTTP headers that Django does not set itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from django.http import HttpRequest, HttpResponse

POLICY: Final = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; frame-ancestors 'none'; form-action 'self'; "
    "base-uri 'none'"
)
#: The console's theme keeps behaviour in attributes, which Alpine.js compiles, and colours in a style element.
#: Scripts inside pages stay forbidden there too. See docs/decisions/0058-console-theme.md.
CONSOLE_POLICY: Final = f"{POLICY}; script-src 'self' 'unsafe-eval'; style-src 'self' 'unsafe-inline'"
#: What browsers could lend to a page and this one never asks for. Passkeys are not in the list: they are used.
PERMISSIONS: Final = "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), serial=(), usb=()"


def headers(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[..., HttpResponse]:
    """Only our own scripts, styles and images may load (Content Security Policy Level 3), and no page of another
    site may read or embed ours.
    """

    def respond(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        console = request.path.startswith("/admin/")
        response.headers.setdefault("Content-Security-Policy", CONSOLE_POLICY if console else POLICY)
        response.headers.setdefault("Permissions-Policy", PERMISSIONS)
        if console:  # what officers see stays in no cache, unless the page itself says otherwise
            response.headers.setdefault("Cache-Control", "private, no-store")
            response.headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
        return response

    return respond
