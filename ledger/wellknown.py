"""Where to report a weakness of this server: /.well-known/security.txt (RFC 9116)."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

_GOOD_FOR: Final = timedelta(days=180)  # RFC 9116, section 2.5.5: less than a year


@require_safe
def security_txt(request: HttpRequest) -> HttpResponse:
    """The contact of LEDGER_SECURITY_CONTACT. It stays good while it is served: who runs the server confirms it so.

    Raises Http404 where none is set.
    """
    if not settings.LEDGER_SECURITY_CONTACT:
        raise Http404
    lines = {
        "Contact": settings.LEDGER_SECURITY_CONTACT,
        "Expires": f"{timezone.now() + _GOOD_FOR:%Y-%m-%dT00:00:00Z}",
        "Preferred-Languages": "en",
        "Canonical": request.build_absolute_uri("/.well-known/security.txt"),
    }
    text = "".join(f"{name}: {value}\n" for name, value in lines.items())
    return HttpResponse(text, content_type="text/plain; charset=utf-8")
