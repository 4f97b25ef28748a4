"""Filters in the address of GET /requests. All that are given must hold; what is not known is refused (422).

| name | value |
|---|---|
| state, regulation | one of theirs |
| held, verified, acknowledged | true, false |
| dueBefore, acknowledgeBefore | a time with zone |
| dataset | a data set's name |
| model, window | a UUID; of a model: requests about its data set |
| after, limit | the `next` of the page before; at most 100 |
"""

from __future__ import annotations

from typing import Final

from django.db.models import QuerySet
from rest_framework.request import Request

from ledger.api import filters
from ledger.api.filters import Known, choice, moment, query, text, uuid_of, whole
from ledger.models import DeletionRequest, GlobalModel
from ledger.models.requests import Regulation
from ledger.workflow.step import get_or_refuse


def filtered(request: Request) -> QuerySet[DeletionRequest]:
    """The requests that pass."""
    return query(request, DeletionRequest.objects.prefetch_related("windows"), _FILTERS)


def flag(request: Request, name: str) -> bool | None:
    """A parameter that is true or false, None if it is not given."""
    value = request.query_params.get(name)
    return None if value is None else filters.flag(name, value)


def _dataset_of(_name: str, value: str) -> str:
    return get_or_refuse(GlobalModel.objects.all(), "model", uuid=value).dataset


_FILTERS: Final[Known] = {
    "state": ("state", choice(DeletionRequest.State.values)),
    "regulation": ("regulation", choice(Regulation.values)),
    "held": ("held", filters.flag),
    "verified": ("verified", filters.flag),
    "acknowledged": ("acknowledged_entry__isnull", lambda name, value: not filters.flag(name, value)),
    "dueBefore": ("due_at__lt", moment),
    "acknowledgeBefore": ("acknowledge_by__lt", moment),
    "dataset": ("dataset", text),
    "model": ("dataset", _dataset_of),
    "window": ("windows", uuid_of),
    "after": ("filed_entry__gt", whole),
}
