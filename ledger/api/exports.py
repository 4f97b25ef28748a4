"""Audit reports: asked for, waited for, fetched by a link that expires."""

from __future__ import annotations

import io
import uuid
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.http.response import HttpResponseBase
from django.utils import timezone
from pydantic import AwareDatetime, Field
from rest_framework.request import Request
from rest_framework.response import Response

from ledger.api import ranges, render
from ledger.api.auth import OfficerView
from ledger.api.inputs import Input, parse
from ledger.api.operations import BYTES, operation
from ledger.api.outputs import work as outputs
from ledger.api.outputs.base import Page
from ledger.api.paging import Query, page
from ledger.api.public import PublicView
from ledger.models import Export
from ledger.reports.make import FORMATS
from ledger.workflow import exports
from ledger.workflow.errors import WorkflowError
from ledger.workflow.step import get_or_refuse

_ROWS = Export.objects.select_related("entry", "file")


class NewExport(Input):
    """POST /exports."""

    scope: Export.Scope
    about: uuid.UUID | None = Field(None, description="the request, window or client")
    since: AwareDatetime | None = Field(None, description="a period's beginning")
    until: AwareDatetime | None = Field(None, description="a period's end, not included")
    format: Export.Form = Export.Form.PDF
    personal_data: bool = Field(False, description="name who asked: needs that permission, and a reason")
    reason: str = Field("", max_length=60, description="a code, as court-order; goes into the log")


class ExportQuery(Query):
    """GET /exports."""

    scope: Export.Scope | None = None
    about: uuid.UUID | None = None


class Exports(OfficerView):
    """GET: reports. POST: ask for one."""

    @operation("List reports", needs="ledger.view_export", query=ExportQuery, gives={200: Page[outputs.Export]})
    def get(self, request: Request) -> Response:
        """Newest first."""
        return page(request, _ROWS.all(), ExportQuery, render.export, ("-created_at", "uuid"))

    @operation(
        "Ask for a report", needs="ledger.add_export", takes=NewExport, gives={202: outputs.Export}, refuses=(404,)
    )
    def post(self, request: Request) -> Response:
        """202: a worker makes it; follow the export. What is made is a log entry of its own."""
        asked = parse(request, NewExport)
        if asked.personal_data != bool(asked.reason):
            raise WorkflowError("bad-reason", "a report that names persons needs a reason, others have none", 422)
        if asked.personal_data and not request.user.has_perm(exports.REVEAL):
            raise WorkflowError("names-persons", "naming persons needs the permission to see who asked", 403)
        row = exports.request_export(
            asked.scope,
            asked.format,
            actor=self.actor,
            about=asked.about,
            since=asked.since,
            until=asked.until,
            reason=asked.reason,
        )
        return Response(render.export(row), status=202, headers={"Location": f"{request.path}/{row.uuid}"})


class ExportView(OfficerView):
    """GET: one report."""

    @operation("Read how far a report is", needs="ledger.view_export", gives={200: outputs.Export})
    def get(self, _request: Request, export_id: uuid.UUID) -> Response:
        """Its state, and its digest once it is made."""
        return Response(_shown(export_id))


class ExportLink(OfficerView):
    """GET: where the file is."""

    @operation("Make a link to a report's file", needs="ledger.view_export", gives={200: outputs.ExportLink})
    def get(self, request: Request, export_id: uuid.UUID) -> Response:
        """409 until it is made. Persons are named only to those who may see who asked."""
        row = get_or_refuse(_ROWS.all(), "export", uuid=export_id)
        token = exports.link(row, request.user)
        until = timezone.now() + timedelta(seconds=settings.LEDGER_EXPORT_LINK_SECONDS)
        url = request.build_absolute_uri(f"/api/v1/exports/files/{token}")
        return Response({"url": url, "expiresAt": render.time(until), "sha256": row.sha256})


class ExportFile(PublicView):
    """GET: the file behind a link."""

    @operation("Fetch a report's file", gives={200: BYTES}, refuses=(404,), resumable=True)
    def get(self, request: Request, token: str) -> HttpResponseBase:
        """PDF, JSON or ZIP. 404 for links that are too old, or whose account may not have the file any more."""
        row, data = exports.file_behind(token)
        kind, ending = FORMATS[row.form]
        name = f"report-{row.scope}-{row.uuid}.{ending}"
        answer = ranges.send(
            request, io.BytesIO(data), f'"{row.sha256}"', content_type=kind, as_attachment=True, filename=name
        )
        answer["Cache-Control"] = "private, no-store"
        answer["X-Content-Type-Options"] = "nosniff"
        return answer


def _shown(export_id: uuid.UUID) -> dict[str, Any]:
    return render.export(get_or_refuse(_ROWS.all(), "export", uuid=export_id))
