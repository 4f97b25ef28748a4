"""The log as C2SP tlog-tiles v0.1.0 wants it: /checkpoint, /tile/<L>/<N>[.p/<W>], /tile/entries/<N>[.p/<W>]."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.http import Http404, HttpResponse
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

from ledger.api.operations import BYTES, TEXT, operation
from ledger.api.public import LatestCheckpoint, PublicView
from ledger.tiles import published
from ledger.tlog.errors import TileError
from ledger.tlog.tiles import TILE_WIDTH

_FOR_EVER = "public, max-age=31536000, immutable"
_PARTIAL = "public, max-age=60"  # as true, but its wider successor replaces it: not worth keeping
_CHECKPOINT = "public, max-age=1, must-revalidate"


class OneFormat(BaseContentNegotiation):
    """Files have one format, whatever the Accept header says."""

    def select_renderer(
        self, request: Request, renderers: Iterable[BaseRenderer], format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        """Errors are JSON still."""
        del request, format_suffix
        renderer = next(iter(renderers))
        return renderer, renderer.media_type


class RootCheckpoint(LatestCheckpoint):
    """GET: the latest signed note, at the path that tlog-tiles gives it."""

    content_negotiation_class = OneFormat
    throttle_scope = "tiles"

    @operation("Read the latest checkpoint, as tlog-tiles has it", gives={200: TEXT}, refuses=(404,))
    def get(self, request: Request) -> HttpResponse:
        """text/plain; may be a second old."""
        response = super().get(request)
        response["Cache-Control"] = _CHECKPOINT
        return response


class TileView(PublicView):
    """GET: a tile or an entry bundle."""

    content_negotiation_class = OneFormat
    throttle_scope = "tiles"

    @operation("Read a tile or an entry bundle", gives={200: BYTES})
    def get(self, _request: Request, path: str) -> HttpResponse:
        """Its bytes; 404 for what no published checkpoint covers, and for every other spelling of its path."""
        try:
            found = published(f"tile/{path}")
        except TileError:
            found = None
        if found is None:
            raise Http404
        place, data = found
        headers: dict[str, Any] = {"Cache-Control": _FOR_EVER if place.width == TILE_WIDTH else _PARTIAL}
        return HttpResponse(data, content_type="application/octet-stream", headers=headers)
