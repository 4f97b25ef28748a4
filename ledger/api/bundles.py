"""Audit bundles for download: of one window, of a period."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import BinaryIO, Literal

from django.http.response import HttpResponseBase
from django.utils import timezone
from pydantic import AwareDatetime, Field, model_validator
from rest_framework.request import Request

from ledger.access import scope
from ledger.api import ranges
from ledger.api.auth import OfficerView
from ledger.api.inputs import Input
from ledger.api.operations import Media, operation
from ledger.api.paging import query
from ledger.workflow.bundle import Wanted, indices_between, period_bundle, window_bundle
from ledger.workflow.errors import WorkflowError

ZIP = Media("application/zip")


class BundleQuery(Input):
    """What an auditor may choose."""

    proofs: Literal["included", "digests"] = Field("included", description="digests: leave the clients' proofs out")
    earlier: int | None = Field(None, ge=0, lt=2**53, description="size of a checkpoint that the auditor has kept")
    size: int | None = Field(None, ge=1, lt=2**53, description="of the published checkpoint to prove everything in")

    def wanted(self) -> Wanted:
        """The same for the use case."""
        return Wanted(self.proofs, self.earlier, self.size)


class PeriodQuery(BundleQuery):
    """Which period: two log indices, inclusive, or two times."""

    first: int | None = Field(None, ge=0, lt=2**53, description="log index")
    last: int | None = Field(None, ge=0, lt=2**53, description="log index, inclusive")
    since: AwareDatetime | None = Field(None, description="instead of indices: from this time on")
    until: AwareDatetime | None = Field(None, description="and before this time; now by default")

    @model_validator(mode="after")
    def _one_way(self) -> PeriodQuery:
        by_index, by_time = self.first is not None or self.last is not None, self.since is not None
        if by_index == by_time or (by_index and None in (self.first, self.last)):
            raise ValueError("give first and last, or since")
        return self

    def bounds(self) -> tuple[int, int]:
        """First and last log index."""
        if self.since is None:
            assert self.first is not None
            assert self.last is not None
            return self.first, self.last
        until: datetime = self.until or timezone.now()
        return indices_between(self.since, until)


class WindowBundle(OfficerView):
    """GET: a window's audit bundle."""

    @operation(
        "Fetch a window's audit bundle",
        needs="ledger.view_window",
        query=BundleQuery,
        gives={200: ZIP},
        resumable=True,
    )
    def get(self, request: Request, window_id: uuid.UUID) -> HttpResponseBase:
        """A zip file, see docs/formats.md. The same question about the same checkpoint gives the same bytes: name
        its `size`, and a download that broke off goes on with Range.
        """
        asked = query(request, BundleQuery)
        name = f"audit-{window_id}.zip"
        return _sent(request, *window_bundle(window_id, asked.wanted()), name)


class PeriodBundle(OfficerView):
    """GET: the audit bundle of a period."""

    @operation(
        "Fetch a period's audit bundle",
        needs="ledger.view_window",
        query=PeriodQuery,
        gives={200: ZIP},
        resumable=True,
    )
    def get(self, request: Request) -> HttpResponseBase:
        """All windows that closed and all requests that were filed in the period, in a zip file as for a window."""
        if scope.limits(request.user):
            sentence = "a period is about all models, and this account is limited to some: ask for single windows"
            raise WorkflowError("limited-account", sentence, 403)
        asked = query(request, PeriodQuery)
        first, last = asked.bounds()
        name = f"audit-{first}-to-{last}.zip"
        return _sent(request, *period_bundle(first, last, asked.wanted()), name)


def _sent(request: Request, file: BinaryIO, digest: str, name: str) -> HttpResponseBase:
    """All of it or a part: either is read from a copy that the first question has left (decision 0099)."""
    return ranges.send(request, file, f'"{digest}"', as_attachment=True, filename=name, content_type=ZIP.type)
