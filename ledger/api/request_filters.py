"""What the addresses of lists of requests and of imports may say."""

from __future__ import annotations

import uuid
from typing import ClassVar, TypeVar

from django.db.models import Model, QuerySet
from pydantic import AwareDatetime, Field

from ledger.api.inputs import Input
from ledger.api.paging import NO_NUL, Query
from ledger.models import DeletionRequest, GlobalModel
from ledger.models.requests import Regulation
from ledger.workflow.step import get_or_refuse

Row = TypeVar("Row", bound=Model)


class RequestQuery(Query):
    """GET /requests: all that are given must hold."""

    lookups: ClassVar[dict[str, str]] = {
        "due_before": "due_at__lt",
        "acknowledge_before": "acknowledge_by__lt",
        "window": "windows",
    }

    state: DeletionRequest.State | None = None
    regulation: Regulation | None = None
    held: bool | None = None
    verified: bool | None = None
    acknowledged: bool | None = Field(None, description="whether receipt was confirmed to the person")
    due_before: AwareDatetime | None = None
    acknowledge_before: AwareDatetime | None = None
    dataset: str | None = Field(None, pattern=NO_NUL)
    model: uuid.UUID | None = Field(None, description="requests about this model's data set")
    window: uuid.UUID | None = None

    def narrow(self, rows: QuerySet[Row]) -> QuerySet[Row]:
        """Requests name data sets, so a model stands for its own. 404 for an unknown one."""
        if self.acknowledged is not None:
            rows = rows.filter(acknowledged_entry__isnull=not self.acknowledged)
        if self.model is not None:
            model = get_or_refuse(GlobalModel.objects.all(), "model", uuid=self.model)
            rows = rows.filter(dataset=model.dataset)
        return super(RequestQuery, self.model_copy(update={"model": None, "acknowledged": None})).narrow(rows)


class ImportsQuery(Query):
    """GET /requests/imports."""


class ImportQuery(Input):
    """POST /requests/imports."""

    dry_run: bool = Field(False, description="check the file, file nothing")
