"""Deletion requests as the provider's officers handle them. Each view parses, calls one use case, renders."""

from __future__ import annotations

import uuid
from typing import Any

from rest_framework.exceptions import PermissionDenied
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response

from ledger.api import render, render_requests, request_filters, request_inputs
from ledger.api.auth import OfficerView
from ledger.api.filters import moment, page, query
from ledger.api.inputs import parse
from ledger.api.limits import refuse_larger
from ledger.models import DatasetIndex, DeletionRequest, Job, RequestImport
from ledger.models.requests import Regulation
from ledger.statements import lifecycle
from ledger.workflow import import_lines, imports, references, request_steps
from ledger.workflow.erase import REASONS as ERASURE
from ledger.workflow.erase import erase
from ledger.workflow.errors import WorkflowError
from ledger.workflow.filing import Filing
from ledger.workflow.requests import decide_request, submit
from ledger.workflow.step import get_or_refuse
from ledger.workflow.terms import change_terms, terms_row


class Requests(OfficerView):
    """GET: deletion requests in the order of filing. POST: file one."""

    def get(self, request: Request) -> Response:
        """Those that pass all filters in the address, see `ledger.api.request_filters`."""
        rows = request_filters.filtered(request).order_by("filed_entry")
        found, following = page(request, rows, lambda row: row.filed_entry_id)
        return Response(
            {
                "requests": [render_requests.line(row) for row in found],
                "next": following,
            }
        )

    def post(self, request: Request) -> Response:
        """201 with the request; 200 if the same was filed before, by its number or with this time of receipt."""
        filing = Filing(**dict(parse(request, request_inputs.NewRequest)))
        row, created = submit(filing, actor=self.actor)
        return Response(render_requests.detail(row), status=201 if created else 200)


class Preview(OfficerView):
    """POST {forget}: how many samples a reference matches. Files nothing."""

    def post(self, request: Request) -> Response:
        """The count, and by which index."""
        body = parse(request, request_inputs.Preview)
        return Response(render_requests.preview(references.preview(body.forget)))


class RequestView(OfficerView):
    """GET: one deletion request."""

    def get(self, _request: Request, request_id: uuid.UUID) -> Response:
        """The request without its subject, and what happened to it."""
        row = get_or_refuse(DeletionRequest.objects.all(), "deletion request", uuid=request_id)
        return Response(render_requests.detail(row) | {"timeline": render_requests.timeline(row)})


class RequestDecision(OfficerView):
    """POST {decision, reason?}: approve or deny."""

    def post(self, request: Request, request_id: uuid.UUID) -> Response:
        """The request as decided; still open where another officer must approve it too."""
        body = parse(request, request_inputs.Decision)
        return _shown(decide_request(request_id, body.decision, body.reason, actor=self.actor))


class RequestAcknowledgement(OfficerView):
    """POST: the person was told that the request has arrived."""

    def post(self, _request: Request, request_id: uuid.UUID) -> Response:
        """The request."""
        return _shown(request_steps.acknowledge(request_id, actor=self.actor))


class RequestIdentity(OfficerView):
    """POST {method, result, detail?}: how it was checked who asks."""

    def post(self, request: Request, request_id: uuid.UUID) -> Response:
        """The request. The detail is sealed and shown nowhere."""
        body = parse(request, request_inputs.Identity)
        return _shown(
            request_steps.record_identity(request_id, body.method, body.result, body.detail, actor=self.actor)
        )


class RequestExtension(OfficerView):
    """POST {reason, notifiedAt?}: take the additional time that the law allows."""

    def post(self, request: Request, request_id: uuid.UUID) -> Response:
        """The request with its new due date."""
        body = parse(request, request_inputs.Extension)
        return _shown(request_steps.extend(request_id, body.reason, body.notified_at, actor=self.actor))


class RequestHold(OfficerView):
    """POST {reason}: set a legal hold."""

    def post(self, request: Request, request_id: uuid.UUID) -> Response:
        """The request."""
        body = parse(request, request_inputs.Reason)
        return _shown(request_steps.set_hold(request_id, body.reason, actor=self.actor))


class RequestLift(OfficerView):
    """POST {reason}: lift a legal hold."""

    def post(self, request: Request, request_id: uuid.UUID) -> Response:
        """The request."""
        body = parse(request, request_inputs.Reason)
        return _shown(request_steps.lift_hold(request_id, body.reason, actor=self.actor))


class RequestRevocation(OfficerView):
    """POST {reason?}: the person withdraws the request."""

    def post(self, request: Request, request_id: uuid.UUID) -> Response:
        """The request."""
        body = parse(request, request_inputs.Revocation)
        return _shown(request_steps.revoke(request_id, body.reason, actor=self.actor))


class RequestErasure(OfficerView):
    """POST {reason}: destroy what is known about who asked."""

    def post(self, request: Request, request_id: uuid.UUID) -> Response:
        """The request with its tombstone."""
        body = parse(request, request_inputs.Reason)
        return _shown(erase(request_id, body.reason, actor=self.actor))


class _Text(BaseParser):
    """A file of requests, as UTF-8 text."""

    def parse(self, stream: Any, _media_type: Any = None, _context: Any = None) -> Any:
        try:
            return stream.read().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise WorkflowError("bad-file", f"a file of requests is UTF-8 text: {error}", 422) from error


class _Csv(_Text):
    media_type = "text/csv"


class _JsonLines(_Text):
    media_type = "application/x-ndjson"


class Imports(OfficerView):
    """POST a CSV file (text/csv) or JSON lines (application/x-ndjson) of requests; ?dryRun=true files nothing.
    GET: what was imported before, newest first, without the reports.
    """

    parser_classes = [_Csv, _JsonLines]

    def get(self, request: Request) -> Response:
        """`next` is the `before` of the following page."""
        rows = query(request, RequestImport.objects.order_by("-created_at"), {"before": ("created_at__lt", moment)})
        found, following = page(request, rows, lambda row: row.created_at.isoformat())
        return Response({"imports": [render_requests.import_line(row) for row in found], "next": following})

    def post(self, request: Request) -> Response:
        """200 with a line-by-line report; 202 for a large file, whose report comes when a worker has read it."""
        refuse_larger(request, import_lines.MAX_BYTES, "a file of requests")
        text = request.data
        if not isinstance(text, str):
            raise WorkflowError("bad-file", "the body is empty: send a file with at least one line", 422)
        form: import_lines.Format = "csv" if str(request.content_type).startswith("text/csv") else "jsonl"
        dry_run = request_filters.flag(request, "dryRun") is True
        if import_lines.count_lines(text) <= imports.AT_ONCE:
            row, summary = imports.import_now(text, form, actor=self.actor, dry_run=dry_run)
            return Response(render_requests.imported(row, summary))
        row = imports.receive_import(text, form, actor=self.actor, dry_run=dry_run)
        return Response(_import(row), status=202, headers={"Location": f"{request.path}/{row.uuid}"})


class ImportView(OfficerView):
    """GET: an import, its progress and its report."""

    def get(self, _request: Request, import_id: uuid.UUID) -> Response:
        """`report` is null while it is not there, and again after it was destroyed."""
        return Response(_import(get_or_refuse(RequestImport.objects.all(), "import", uuid=import_id)))


class Reasons(OfficerView):
    """GET: every code that requests take, with its meaning."""

    def get(self, _request: Request) -> Response:
        """By what they are reasons for; `drp` is the Data Rights Protocol's name."""
        codes = {
            register: {code: {"meaning": one.meaning, "drp": one.drp or None} for code, one in reasons.items()}
            for register, reasons in lifecycle.REASONS.items()
        }
        return Response({"reasons": codes, "identityMethods": lifecycle.METHODS, "erasure": list(ERASURE)})


class Regulations(OfficerView):
    """GET: periods and policy of every regulation."""

    def get(self, _request: Request) -> Response:
        """As they count for requests filed from now on."""
        return Response({"regulations": [render_requests.terms(terms_row(name)) for name in Regulation.values]})


class RegulationView(OfficerView):
    """GET, PATCH: periods and policy of one regulation."""

    def get(self, _request: Request, regulation: str) -> Response:
        """The terms."""
        return Response(render_requests.terms(terms_row(regulation)))

    def patch(self, request: Request, regulation: str) -> Response:
        """Change what is given; needs the right to change terms. Periods may be stricter than the law only."""
        if not request.user.has_perm("ledger.change_regulationterms"):
            raise PermissionDenied
        changes = parse(request, request_inputs.Terms).model_dump(exclude_none=True)
        return Response(render_requests.terms(change_terms(regulation, changes, actor=self.actor)))


class Datasets(OfficerView):
    """GET: the data sets whose samples can be looked up."""

    def get(self, _request: Request) -> Response:
        """Their current indexes."""
        rows = DatasetIndex.objects.filter(current=True)
        return Response({"datasets": [render_requests.dataset(row) for row in rows]})


def _shown(row: DeletionRequest) -> Response:
    return Response(render_requests.detail(row))


def _import(row: RequestImport) -> dict[str, Any]:
    job = Job.objects.filter(kind=Job.Kind.IMPORT, target=row.uuid).first()
    return render_requests.imported(row) | {"job": None if job is None else render.job(job)}
