"""When a deletion request is fulfilled: on every model that it concerns, not only on one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from django.utils import timezone

from ledger import log
from ledger.models import Certificate, DeletionRequest, GlobalModel
from ledger.statements import predicates
from ledger.workflow import events
from ledger.workflow.actors import SYSTEM
from ledger.workflow.lists import slices
from ledger.workflow.step import log_own_in_turn

_BATCH: Final = 500  # requests in memory at a time


def fulfil(requests: Sequence[DeletionRequest]) -> None:
    """Log of each request in progress that it is fulfilled if it is: a complete certificate, or retirement, for
    each model it concerns. Where all of them are retired, no certificate is needed.

    The caller holds the log's lock.
    """
    for some in slices([one for one in requests if one.state == DeletionRequest.State.IN_PROGRESS], _BATCH):
        _fulfil(some)


def _fulfil(requests: list[DeletionRequest]) -> None:
    complete, models, now = _complete(requests), _models(requests), timezone.now()
    found = [(one, _said_of(one, complete[one.pk], models[one.dataset], now)) for one in requests]
    done = [(request, said) for request, said in found if said is not None]
    if not done:
        return
    entries = log_own_in_turn(said for _, said in done)
    for (request, _), entry in zip(done, entries, strict=True):
        request.fulfilled_entry, request.state = entry, DeletionRequest.State.FULFILLED
    DeletionRequest.objects.bulk_update([request for request, _ in done], ["fulfilled_entry", "state"])
    told = {request.uuid: entry.index for (request, _), entry in zip(done, entries, strict=True)}
    events.record_many("request.fulfilled", SYSTEM, told)


def _complete(requests: list[DeletionRequest]) -> dict[object, dict[object, Certificate]]:
    """Complete certificates that no supplement has brought up to date, by request and model."""
    found: defaultdict[object, dict[object, Certificate]] = defaultdict(dict)
    rows = Certificate.objects.filter(request__in=[one.pk for one in requests], complete=True, supplement=None)
    for row in rows.select_related("window", "entry").order_by("entry"):
        found[row.request_id][row.window.model_id] = row
    return found


def _models(requests: list[DeletionRequest]) -> dict[str, list[GlobalModel]]:
    """All models by data set, as they stand in the log."""
    found: defaultdict[str, list[GlobalModel]] = defaultdict(list)
    rows = GlobalModel.objects.filter(dataset__in={one.dataset for one in requests})
    for row in rows.select_related("entry", "retired_entry").order_by("entry"):
        found[row.dataset].append(row)
    return found


def _concerned(request: DeletionRequest, models: list[GlobalModel]) -> list[GlobalModel]:
    """The models that an approved request is about: of its data set, released before the decision and in use then.

    Models that are released later must be trained without its data: that is the provider's duty.
    """
    decided = request.decision_entry_id
    assert decided is not None
    return [
        one for one in models
        if one.entry_id < decided and (one.retired_entry_id is None or one.retired_entry_id > decided)
    ]  # fmt: skip


def _said_of(
    request: DeletionRequest, complete: dict[object, Certificate], models: list[GlobalModel], now: datetime
) -> predicates.RequestFulfilment | None:
    """What is to be logged of a request; None if it is not fulfilled yet."""
    concerned = _concerned(request, models)
    left = [one for one in concerned if one.pk not in complete and one.retired_entry is None]
    if left or not (complete or concerned):
        return None
    assert request.decision_entry is not None
    certificates = sorted(complete.values(), key=lambda one: one.entry_id)
    retired = [one.retired_entry for one in concerned if one.pk not in complete]
    return predicates.RequestFulfilment(
        request=str(request.uuid),
        decision=log.entry_ref(request.decision_entry),
        certificates=[log.entry_ref(one.entry) for one in certificates],
        retirements=[log.entry_ref(entry) for entry in retired if entry is not None],
        fulfilled_at=now,
    )
