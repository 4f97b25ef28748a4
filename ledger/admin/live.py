"""Parts of pages that change while somebody looks. The script asks for them again and again and puts them in place.

An answer carries an ETag of what it says; as long as that stays, later answers are 304 and empty.
"""

from __future__ import annotations

import hashlib
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseNotModified
from django.template.loader import render_to_string

from ledger.admin import home


def progress(request: HttpRequest) -> HttpResponse:
    """The part of the first page that shows windows and jobs."""
    return _part(request, "progress", home.progress(request))


def _part(request: HttpRequest, name: str, context: dict[str, Any]) -> HttpResponse:
    text = render_to_string(f"admin/ledger/parts/{name}.html", context, request)
    tag = f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'
    if request.headers.get("If-None-Match") == tag:
        return HttpResponseNotModified(headers={"ETag": tag})
    return HttpResponse(text, headers={"ETag": tag, "Cache-Control": "private, no-cache"})
