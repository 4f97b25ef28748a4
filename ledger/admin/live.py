"""Parts of pages that change while somebody looks. The script asks for them again and again and puts them in place.

An answer carries an ETag of what it says; as long as that stays, later answers are 304 and empty.
"""

from __future__ import annotations

import hashlib
import uuid
from typing import Any

from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotModified
from django.template.loader import render_to_string

from ledger.access import scope
from ledger.admin import exports, home, window_progress
from ledger.models import Export, Window


def progress(request: HttpRequest) -> HttpResponse:
    """The part of the first page that shows windows and jobs."""
    return _part(request, "progress", home.progress(request))


def window(request: HttpRequest, window_id: uuid.UUID) -> HttpResponse:
    """The part of a window's page that shows how far it is."""
    row = scope.visible(request.user, Window.objects.filter(pk=window_id)).first()
    if row is None or not request.user.has_perm("ledger.view_window"):
        raise Http404
    return _part(request, "window", window_progress.of(row))


def export(request: HttpRequest, export_id: uuid.UUID) -> HttpResponse:
    """The part of a report's page that shows how far it is."""
    page = admin.site.get_model_admin(Export)
    row = page.get_queryset(request).select_related("file", "entry").filter(pk=export_id).first()
    if row is None or not page.has_view_permission(request):
        raise Http404
    return _part(request, "export", exports.how_far(row))


def _part(request: HttpRequest, name: str, context: dict[str, Any]) -> HttpResponse:
    text = render_to_string(f"admin/ledger/parts/{name}.html", context, request)
    tag = f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'
    if request.headers.get("If-None-Match") == tag:
        return HttpResponseNotModified(headers={"ETag": tag})
    return HttpResponse(text, headers={"ETag": tag, "Cache-Control": "private, no-cache"})
