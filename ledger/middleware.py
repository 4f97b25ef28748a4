"""HTTP headers that Django does not set itself."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse

POLICY = "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; form-action 'self'; base-uri 'none'"
#: The console's theme keeps behaviour in attributes, which Alpine.js compiles, and colours in a style element.
#: Scripts inside pages stay forbidden there too. See docs/decisions/0058-console-theme.md.
CONSOLE_POLICY = f"{POLICY}; script-src 'self' 'unsafe-eval'; style-src 'self' 'unsafe-inline'"


def content_security_policy(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[..., HttpResponse]:
    """Only our own scripts, styles and images may load (Content Security Policy Level 3)."""

    def respond(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        console = request.path.startswith("/admin/")
        response.headers.setdefault("Content-Security-Policy", CONSOLE_POLICY if console else POLICY)
        return response

    return respond
