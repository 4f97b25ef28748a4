"""Parts of pages that change while somebody looks. The script asks for them again and again and puts them in place.

It asks at the page's own address, with a header, so that a part shows what its page would: the same filters, the
same permissions. An answer carries an ETag of what it says; as long as that stays, later answers are 304 and empty.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

from django.http import HttpRequest, HttpResponse, HttpResponseNotModified
from django.template.loader import render_to_string

from ledger.admin import home

#: The header that asks for a page's part.
PART: Final = "X-Part"


def progress(request: HttpRequest) -> HttpResponse:
    """The part of the first page that shows windows and jobs."""
    return part(request, "progress", home.progress(request))


def is_asked_for(request: HttpRequest) -> bool:
    """Whether it is the script that asks, for what may have changed."""
    return request.method == "GET" and PART in request.headers


def part(request: HttpRequest, name: str, context: dict[str, Any]) -> HttpResponse:
    """The part called `name`, or 304 if the script has it."""
    text = render_to_string(f"admin/ledger/parts/{name}.html", context, request)
    tag = f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache", "Vary": f"{PART}, Cookie"}
    if request.headers.get("If-None-Match") == tag:
        return HttpResponseNotModified(headers=headers)
    return HttpResponse(text, headers=headers)
