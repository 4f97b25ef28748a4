"""What has been recorded: jobs, events, certificates, proofs, log entries; and whether the log is in order."""

from __future__ import annotations

import uuid
from typing import Any, ClassVar

from django.db.models import QuerySet
from pydantic import Field
from rest_framework.request import Request
from rest_framework.response import Response

from ledger import log
from ledger.access import scope
from ledger.api import render
from ledger.api.auth import OfficerView, PartyView
from ledger.api.operations import operation
from ledger.api.outputs import log as log_outputs
from ledger.api.outputs import work as outputs
from ledger.api.outputs.base import Page
from ledger.api.own_events import EventQuery, events_after
from ledger.api.paging import Query, page, query
from ledger.api.public import PublicView
from ledger.models import Certificate, Event, FsckRun, Job, LogEntry, ProofSubmission, WitnessState
from ledger.statements.predicates.base import PREDICATE_BASE
from ledger.workflow.jobs import retry_job
from ledger.workflow.step import get_or_refuse


def _job(job_id: uuid.UUID) -> dict[str, Any]:
    return render.job(get_or_refuse(Job.objects.all(), "job", uuid=job_id))


class JobQuery(Query):
    """GET /jobs."""

    state: Job.State | None = None
    kind: Job.Kind | None = None
    target: uuid.UUID | None = Field(None, description="a window, claim, proof or import")


class Jobs(OfficerView):
    """GET: background jobs."""

    @operation("List background jobs", needs="ledger.view_job", query=JobQuery, gives={200: Page[outputs.Job]})
    def get(self, request: Request) -> Response:
        """Newest first."""
        return page(request, Job.objects.all(), JobQuery, render.job, ("-created_at", "uuid"))


class JobView(OfficerView):
    """GET: one job."""

    @operation("Read a background job", needs="ledger.view_job", gives={200: outputs.Job})
    def get(self, _request: Request, job_id: uuid.UUID) -> Response:
        """State, progress, error."""
        return Response(_job(job_id))


class JobRetry(OfficerView):
    """POST: start a failed job anew."""

    @operation("Start a failed job anew", needs="ledger.change_job", gives={200: outputs.Job}, guards=_job)
    def post(self, _request: Request, job_id: uuid.UUID) -> Response:
        """The job, with a fresh set of attempts."""
        retry_job(job_id)
        return Response(_job(job_id))


class AllEventsQuery(EventQuery):
    """GET /events: about these things only."""

    kind: str | None = Field(None, pattern=r"^[a-z.-]{1,60}$", description="as order.met")
    request: uuid.UUID | None = None
    window: uuid.UUID | None = None
    order: uuid.UUID | None = None
    client: uuid.UUID | None = None
    model: uuid.UUID | None = None


class Events(OfficerView):
    """GET: what happened, now or soon."""

    @operation("Follow events", needs="ledger.view_event", query=AllEventsQuery, gives={200: outputs.AllEvents})
    def get(self, request: Request) -> Response:
        """At once if there is something after `after`, else when something happens or `wait` seconds are over.

        At most 200, oldest first. With Retry-After the server had no place to wait: ask again after so many
        seconds.
        """
        asked, rows = query(request, AllEventsQuery), scope.visible(request.user, Event.objects.all())
        for name in ("kind", "request", "window", "order", "client", "model"):
            if getattr(asked, name) is not None:
                rows = rows.filter(**{name: getattr(asked, name)})
        assert self.caller is not None
        return events_after(rows, asked, self.caller, render.event)


class CertificateQuery(Query):
    """GET /certificates."""

    request: uuid.UUID | None = None
    window: uuid.UUID | None = None
    complete: bool | None = None


class Certificates(OfficerView):
    """GET: certificates."""

    @operation(
        "List certificates",
        needs="ledger.view_certificate",
        query=CertificateQuery,
        gives={200: Page[outputs.Certificate]},
    )
    def get(self, request: Request) -> Response:
        """In the order of the log."""
        rows = Certificate.objects.select_related("entry")
        return page(request, rows, CertificateQuery, render.certificate, ("entry",))


class ProofQuery(Query):
    """GET /proofs."""

    lookups: ClassVar[dict[str, str]] = {
        "order": "claim__order",
        "window": "claim__order__window",
        "client": "claim__order__client_model__client",
        "accepted": "verdict__accepted",
    }

    order: uuid.UUID | None = None
    window: uuid.UUID | None = None
    client: uuid.UUID | None = None
    accepted: bool | None = Field(None, description="what the verdict says; without it pending proofs come too")


class Proofs(PartyView):
    """GET: proofs and their verdicts."""

    @operation(
        "List proofs and verdicts",
        needs="ledger.view_proofsubmission",
        query=ProofQuery,
        gives={200: Page[outputs.Proof]},
    )
    def get(self, request: Request) -> Response:
        """In the order of the log."""
        rows = ProofSubmission.objects.select_related(
            "entry", "claim__order__client_model", "verdict__entry", "claim__entry"
        )
        if self.client is not None:
            rows = rows.filter(claim__order__client_model__client=self.client)
        return page(request, rows, ProofQuery, render.proof, ("entry",))


class EntryQuery(Query):
    """GET /log/entries."""

    kind: str | None = Field(None, pattern=r"^[a-z-]{1,60}$", description="as mask, order, claim")
    signer: str | None = Field(None, pattern=r"^[0-9a-f]{64}$", description="a key ID")

    def narrow(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """A kind is the middle of a predicate's type."""
        if self.kind is None:
            return super().narrow(rows)
        rows = rows.filter(predicate_type__startswith=f"{PREDICATE_BASE}:{self.kind}:")
        return super(EntryQuery, self.model_copy(update={"kind": None})).narrow(rows)


class Entries(PublicView):
    """GET: the log, entry by entry."""

    @operation("List log entries", query=EntryQuery, gives={200: Page[log_outputs.EntryLine]})
    def get(self, request: Request) -> Response:
        """In the order of the log, without their envelopes. Mirrors read tiles instead."""
        return page(request, LogEntry.objects.defer("envelope"), EntryQuery, render.entry_line, ("index",))


class Health(PublicView):
    """GET: whether the log is in order."""

    @operation("Read the health of the log", gives={200: log_outputs.Health})
    def get(self, _request: Request) -> Response:
        """How far it is published, what the witnesses and the last complete check say."""
        head, check = log.latest_checkpoint(), FsckRun.objects.order_by("-started_at").first()
        return Response(
            {
                "size": log.size(),
                "publishedSize": None if head is None else head.size,
                "publishedAt": None if head is None else render.time(head.created_at),
                "alarm": bool(check and check.problem) or any(row.alarm for row in WitnessState.objects.all()),
                "lastCheck": None if check is None else render.check(check),
            }
        )
