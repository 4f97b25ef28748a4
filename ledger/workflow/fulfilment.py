"""When a deletion request is fulfilled: on every model that it concerns, not only on one."""

from __future__ import annotations

from django.utils import timezone

from ledger import log
from ledger.models import Certificate, DeletionRequest, GlobalModel, LogEntry
from ledger.statements import predicates
from ledger.workflow import events
from ledger.workflow.step import log_own


def concerned_models(request: DeletionRequest) -> list[GlobalModel]:
    """The models that an approved request is about: of its data set, released before the decision and in use then.

    Models that are released later must be trained without its data: that is the provider's duty.
    """
    assert request.decision_entry_id is not None
    rows = GlobalModel.objects.filter(dataset=request.dataset, entry__index__lt=request.decision_entry_id)
    rows = rows.exclude(retired_entry__index__lt=request.decision_entry_id)
    return list(rows.select_related("entry", "retired_entry").order_by("entry"))


def fulfil(request: DeletionRequest) -> bool:
    """Log that a request is fulfilled if it is: a complete certificate, or retirement, for each model it concerns.

    Where all of them are retired, no certificate is needed. The caller holds the log's lock. Returns whether it is
    fulfilled now.
    """
    if request.state != DeletionRequest.State.IN_PROGRESS:
        return request.state == DeletionRequest.State.FULFILLED
    complete = {one.window.model_id: one for one in _complete(request)}
    models = concerned_models(request)
    left = [model for model in models if model.pk not in complete and model.retired_entry is None]
    if left or not (complete or models):
        return False
    request.fulfilled_entry = log_own(
        predicates.RequestFulfilment(
            request=str(request.uuid),
            decision=log.entry_ref(_decision(request)),
            certificates=[
                log.entry_ref(one.entry) for one in sorted(complete.values(), key=lambda one: one.entry_id)
            ],
            retirements=[
                log.entry_ref(model.retired_entry)
                for model in models
                if model.retired_entry is not None and model.pk not in complete
            ],
            fulfilled_at=timezone.now(),
        )
    )
    request.state = DeletionRequest.State.FULFILLED
    request.save()
    events.record("request.fulfilled", request=request.uuid, entry=request.fulfilled_entry)
    return True


def _complete(request: DeletionRequest) -> list[Certificate]:
    return list(
        request.certificates.filter(complete=True, supplement=None)
        .select_related("window", "entry")
        .order_by("entry")
    )


def _decision(request: DeletionRequest) -> LogEntry:
    assert request.decision_entry is not None
    return request.decision_entry
