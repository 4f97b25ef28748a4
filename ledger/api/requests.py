"""Deletion requests as the provider's officers handle them. Each view parses, calls one use case, renders."""

from __future__ import annotations

import uuid
from typing import Any

from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response

from ledger.access import scope
from ledger.api import render, render_requests, request_filters, request_inputs
from ledger.api.auth import OfficerView
from ledger.api.inputs import parse
from ledger.api.limits import refuse_larger
from ledger.api.operations import Media, operation
from ledger.api.outputs import requests as outputs
from ledger.api.outputs.base import Page
from ledger.api.paging import page, query
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


def _page(request_id: uuid.UUID) -> dict[str, Any]:
    row = get_or_refuse(DeletionRequest.objects.all(), "deletion request", uuid=request_id)
    return render_requests.detail(row) | {"timeline": render_requests.timeline(row)}


class Requests(OfficerView):
    """GET: deletion requests in the order of filing. POST: file one."""

    @operation(
        "List deletion requests",
        needs="ledger.view_deletionrequest",
        query=request_filters.RequestQuery,
        gives={200: Page[outputs.RequestLine]},
    )
    def get(self, request: Request) -> Response:
        """Those that pass all filters in the address, see `ledger.api.request_filters`."""
        return page(
            request,
            DeletionRequest.objects.prefetch_related("windows"),
            request_filters.RequestQuery,
            render_requests.line,
            ("filed_entry",),
        )

    @operation(
        "File a deletion request",
        needs="ledger.add_deletionrequest",
        takes=request_inputs.NewRequest,
        gives={201: outputs.Request, 200: outputs.Request},
    )
    def post(self, request: Request) -> Response:
        """201 with the request; 200 if the same was filed before, by its number or with this time of receipt."""
        filing = Filing(**dict(parse(request, request_inputs.NewRequest)))
        self.must_see_data(filing.forget)
        row, created = submit(filing, actor=self.actor)
        return Response(render_requests.detail(row), status=201 if created else 200)


class Preview(OfficerView):
    """POST {forget}: how many samples a reference matches. Files nothing."""

    @operation(
        "Count the samples that a reference matches",
        needs="ledger.view_deletionrequest",
        takes=request_inputs.Preview,
        gives={200: outputs.Preview},
        repeatable=True,
    )
    def post(self, request: Request) -> Response:
        """The count, and by which index."""
        body = parse(request, request_inputs.Preview)
        self.must_see_data(body.forget)
        return Response(render_requests.preview(references.preview(body.forget)))


class RequestView(OfficerView):
    """GET: one deletion request."""

    @operation("Read a deletion request", needs="ledger.view_deletionrequest", gives={200: outputs.RequestPage})
    def get(self, _request: Request, request_id: uuid.UUID) -> Response:
        """The request without its subject, and what happened to it."""
        return Response(_page(request_id))


class RequestDecision(OfficerView):
    """POST {decision, reason?}: approve or deny."""

    @operation(
        "Approve or deny a request",
        needs="ledger.decide_deletionrequest",
        takes=request_inputs.Decision,
        gives={200: outputs.Request},
        guards=_page,
    )
    def post(self, request: Request, request_id: uuid.UUID) -> Response:
        """The request as decided; still open where another officer must approve it too."""
        body = parse(request, request_inputs.Decision)
        return _shown(decide_request(request_id, body.decision, body.reason, actor=self.actor))


class RequestAcknowledgement(OfficerView):
    """POST: the person was told that the request has arrived."""

    @operation(
        "Record that receipt was confirmed",
        needs="ledger.change_deletionrequest",
        gives={200: outputs.Request},
        guards=_page,
    )
    def post(self, _request: Request, request_id: uuid.UUID) -> Response:
        """The request."""
        return _shown(request_steps.acknowledge(request_id, actor=self.actor))


class RequestIdentity(OfficerView):
    """POST {method, result, detail?}: how it was checked who asks."""

    @operation(
        "Record an identity check",
        needs="ledger.change_deletionrequest",
        takes=request_inputs.Identity,
        gives={200: outputs.Request},
        guards=_page,
    )
    def post(self, request: Request, request_id: uuid.UUID) -> Response:
        """The request. The detail is sealed and shown nowhere."""
        body = parse(request, request_inputs.Identity)
        return _shown(
            request_steps.record_identity(request_id, body.method, body.result, body.detail, actor=self.actor)
        )


class RequestExtension(OfficerView):
    """POST {reason, notifiedAt?}: take the additional time that the law allows."""

    @operation(
        "Extend the due date",
        needs="ledger.change_deletionrequest",
        takes=request_inputs.Extension,
        gives={200: outputs.Request},
        guards=_page,
    )
    def post(self, request: Request, request_id: uuid.UUID) -> Response:
        """The request with its new due date."""
        body = parse(request, request_inputs.Extension)
        return _shown(request_steps.extend(request_id, body.reason, body.notified_at, actor=self.actor))


class RequestHold(OfficerView):
    """POST {reason}: set a legal hold."""

    @operation(
        "Set a legal hold",
        needs="ledger.change_deletionrequest",
        takes=request_inputs.Reason,
        gives={200: outputs.Request},
        guards=_page,
    )
    def post(self, request: Request, request_id: uuid.UUID) -> Response:
        """The request."""
        body = parse(request, request_inputs.Reason)
        return _shown(request_steps.set_hold(request_id, body.reason, actor=self.actor))


class RequestLift(OfficerView):
    """POST {reason}: lift a legal hold."""

    @operation(
        "Lift a legal hold",
        needs="ledger.change_deletionrequest",
        takes=request_inputs.Reason,
        gives={200: outputs.Request},
        guards=_page,
    )
    def post(self, request: Request, request_id: uuid.UUID) -> Response:
        """The request."""
        body = parse(request, request_inputs.Reason)
        return _shown(request_steps.lift_hold(request_id, body.reason, actor=self.actor))


class RequestRevocation(OfficerView):
    """POST {reason?}: the person withdraws the request."""

    @operation(
        "Record that the person withdrew",
        needs="ledger.change_deletionrequest",
        takes=request_inputs.Revocation,
        gives={200: outputs.Request},
        guards=_page,
    )
    def post(self, request: Request, request_id: uuid.UUID) -> Response:
        """The request."""
        body = parse(request, request_inputs.Revocation)
        return _shown(request_steps.revoke(request_id, body.reason, actor=self.actor))


class RequestErasure(OfficerView):
    """POST {reason}: destroy what is known about who asked."""

    @operation(
        "Erase who asked",
        needs="ledger.change_deletionrequest",
        takes=request_inputs.Reason,
        gives={200: outputs.Request},
        guards=_page,
    )
    def post(self, request: Request, request_id: uuid.UUID) -> Response:
        """The request with its tombstone."""
        body = parse(request, request_inputs.Reason)
        return _shown(erase(request_id, body.reason, actor=self.actor))


class _Text(BaseParser):
    """A file of requests, as UTF-8 text."""

    def parse(self, stream: Any, _media_type: Any = None, _context: Any = None) -> Any:
        try:
            text = stream.read().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise WorkflowError("bad-file", f"a file of requests is UTF-8 text: {error}", 422) from error
        if "\0" in text:
            line = text[: text.index("\0")].count("\n") + 1
            raise WorkflowError("bad-file", f"a file of requests is text: got a NUL character in line {line}", 422)
        return text


class _Csv(_Text):
    media_type = "text/csv"


class _JsonLines(_Text):
    media_type = "application/x-ndjson"


class Imports(OfficerView):
    """POST a CSV file (text/csv) or JSON lines (application/x-ndjson) of requests; ?dryRun=true files nothing.
    GET: what was imported before, newest first, without the reports.
    """

    parser_classes = [_Csv, _JsonLines]

    @operation(
        "List imports",
        needs="ledger.view_requestimport",
        query=request_filters.ImportsQuery,
        gives={200: Page[outputs.ImportLine]},
    )
    def get(self, request: Request) -> Response:
        """Newest first."""
        return page(
            request,
            RequestImport.objects.all(),
            request_filters.ImportsQuery,
            render_requests.import_line,
            ("-created_at", "uuid"),
        )

    @operation(
        "Import a file of requests",
        needs="ledger.add_requestimport",
        takes=(Media("text/csv", text=True), Media("application/x-ndjson", text=True)),
        query=request_filters.ImportQuery,
        gives={200: outputs.ImportReport, 202: outputs.Import},
    )
    def post(self, request: Request) -> Response:
        """200 with a line-by-line report; 202 for a large file, whose report comes when a worker has read it."""
        refuse_larger(request, import_lines.MAX_BYTES, "a file of requests")
        text = request.data
        if not isinstance(text, str):
            raise WorkflowError("bad-file", "the body is empty: send a file with at least one line", 422)
        form: import_lines.Format = "csv" if str(request.content_type).startswith("text/csv") else "jsonl"
        dry_run = query(request, request_filters.ImportQuery).dry_run
        if import_lines.count_lines(text) <= imports.AT_ONCE:
            row, summary = imports.import_now(text, form, actor=self.actor, dry_run=dry_run)
            return Response(render_requests.imported(row, summary))
        row = imports.receive_import(text, form, actor=self.actor, dry_run=dry_run)
        return Response(_import(row), status=202, headers={"Location": f"{request.path}/{row.uuid}"})


class ImportView(OfficerView):
    """GET: an import, its progress and its report."""

    @operation("Read an import", needs="ledger.view_requestimport", gives={200: outputs.Import})
    def get(self, _request: Request, import_id: uuid.UUID) -> Response:
        """`report` is null while it is not there, and again after it was destroyed."""
        return Response(_import(get_or_refuse(RequestImport.objects.all(), "import", uuid=import_id)))


class Reasons(OfficerView):
    """GET: every code that requests take, with its meaning."""

    @operation("List reason codes", needs="ledger.view_deletionrequest", gives={200: outputs.Reasons})
    def get(self, _request: Request) -> Response:
        """By what they are reasons for; `drp` is the Data Rights Protocol's name."""
        codes = {
            register: {code: {"meaning": one.meaning, "drp": one.drp or None} for code, one in reasons.items()}
            for register, reasons in lifecycle.REASONS.items()
        }
        return Response({"reasons": codes, "identityMethods": lifecycle.METHODS, "erasure": list(ERASURE)})


class Regulations(OfficerView):
    """GET: periods and policy of every regulation."""

    @operation("List regulations", needs="ledger.view_regulationterms", gives={200: outputs.Regulations})
    def get(self, _request: Request) -> Response:
        """As they count for requests filed from now on."""
        return Response({"regulations": [render_requests.terms(terms_row(name)) for name in Regulation.values]})


class RegulationView(OfficerView):
    """GET, PATCH: periods and policy of one regulation."""

    @operation("Read the terms of a regulation", needs="ledger.view_regulationterms", gives={200: outputs.Terms})
    def get(self, _request: Request, regulation: str) -> Response:
        """The terms."""
        return Response(render_requests.terms(terms_row(regulation)))

    @operation(
        "Change the terms of a regulation",
        needs="ledger.change_regulationterms",
        takes=request_inputs.Terms,
        gives={200: outputs.Terms},
    )
    def patch(self, request: Request, regulation: str) -> Response:
        """Change what is given. Periods may be stricter than the law only."""
        changes = parse(request, request_inputs.Terms).model_dump(exclude_none=True)
        return Response(render_requests.terms(change_terms(regulation, changes, actor=self.actor)))


class Datasets(OfficerView):
    """GET: the data sets whose samples can be looked up."""

    @operation("List data sets", needs="ledger.view_datasetindex", gives={200: outputs.Datasets})
    def get(self, request: Request) -> Response:
        """Their current indexes."""
        rows = scope.visible(request.user, DatasetIndex.objects.filter(current=True))
        return Response({"datasets": [render_requests.dataset(row) for row in rows]})


def _shown(row: DeletionRequest) -> Response:
    return Response(render_requests.detail(row))


def _import(row: RequestImport) -> dict[str, Any]:
    job = Job.objects.filter(kind=Job.Kind.IMPORT, target=row.uuid).first()
    return render_requests.imported(row) | {"job": None if job is None else render.job(job)}
