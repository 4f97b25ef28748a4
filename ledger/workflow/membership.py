"""Which requests are in a window while it is open, and which of them keep it from closing."""

from __future__ import annotations

import uuid
from collections.abc import Iterable

from ledger.models import DeletionRequest, GlobalModel, Window
from ledger.workflow import events
from ledger.workflow.actors import SYSTEM, Actor
from ledger.workflow.errors import WorkflowError
from ledger.workflow.policies import MAX_REQUESTS
from ledger.workflow.step import exclusive, get_or_refuse

Ids = Iterable[uuid.UUID | str]
_LIVE = (DeletionRequest.State.OPEN, DeletionRequest.State.IN_PROGRESS)


@exclusive
def add_requests(window_id: uuid.UUID | str, request_ids: Ids, *, actor: Actor = SYSTEM) -> Window:
    """Put requests into an open window; those in it already stay. They need not be decided yet, to close it does.

    Raises WorkflowError: unknown (404), window not open, request over or in another window of the model (409),
    another data set, or too many (422).
    """
    window = open_one(window_id)
    enter(window, request_ids)
    _changed(window, actor)
    return window


@exclusive
def remove_requests(window_id: uuid.UUID | str, request_ids: Ids, *, actor: Actor = SYSTEM) -> Window:
    """Take requests out of an open window. Raises WorkflowError: unknown, or not in it (404), not open (409)."""
    window = open_one(window_id)
    for request_id in dict.fromkeys(map(str, request_ids)):
        request = get_or_refuse(window.requests.all(), f"request in window {window.uuid} called", uuid=request_id)
        window.requests.remove(request)
    _changed(window, actor)
    return window


@exclusive
def discard_window(window_id: uuid.UUID | str, *, actor: Actor = SYSTEM) -> None:
    """Give up an open window: its requests are free again, nothing of it stays. Raises WorkflowError (404, 409)."""
    window = open_one(window_id)
    events.record("window.discarded", actor=actor, window=window.uuid, model=window.model_id)
    window.delete()


def enter(window: Window, request_ids: Ids) -> None:
    """Check and add; see `add_requests`."""
    for request_id in dict.fromkeys(map(str, request_ids)):
        request = get_or_refuse(DeletionRequest.objects.all(), "deletion request", uuid=request_id)
        if not window.requests.filter(pk=request.pk).exists():
            _expect_free(request, window.model)
            window.requests.add(request)
    if window.requests.count() > MAX_REQUESTS:
        raise WorkflowError("too-many-requests", f"a window takes at most {MAX_REQUESTS} requests", 422)


def open_one(window_id: uuid.UUID | str) -> Window:
    """An open window. Raises WorkflowError: unknown (404), closed (409): what was logged stays as it is."""
    window = get_or_refuse(Window.objects.select_related("model"), "window", uuid=window_id)
    if window.state != Window.State.OPEN:
        raise WorkflowError(
            "not-open", f"window {window.uuid} is {window.state}: its requests are in the log and stay as they are"
        )
    return window


def waiting(model: GlobalModel) -> list[DeletionRequest]:
    """Approved requests about a model's data that no window of the model has taken, the most urgent first."""
    rows = DeletionRequest.objects.filter(state=DeletionRequest.State.IN_PROGRESS).exclude(windows__model=model)
    concerned = rows.filter(dataset=model.dataset, decision_entry__index__gt=model.entry_id)
    return [request for request in concerned.order_by("due_at", "filed_entry") if obstacle(request) is None]


def expect_resolved(window: Window) -> None:
    """Raise WorkflowError (409) naming every request that keeps an open window from closing."""
    stuck = [
        f"{request.uuid} is {why}"
        for request in window.requests.order_by("filed_entry")
        if (why := obstacle(request)) is not None
    ]
    if stuck:
        more = f" and {len(stuck) - 10} more" if len(stuck) > 10 else ""
        raise WorkflowError(
            "unresolved-requests",
            f"window {window.uuid} cannot close: request {'; request '.join(stuck[:10])}{more}. Resolve them, or "
            "take them out of the window",
        )


def _changed(window: Window, actor: Actor) -> None:
    events.record(
        "window.changed", actor=actor, window=window.uuid, model=window.model_id,
        data={"requests": window.requests.count()},
    )  # fmt: skip


def _expect_free(request: DeletionRequest, model: GlobalModel) -> None:
    if request.state not in _LIVE:
        raise WorkflowError(
            "not-available", f"request {request.uuid} is {request.state}: a window takes open and approved ones"
        )
    if request.held:
        raise WorkflowError("held", f"request {request.uuid} is under a legal hold: lift it first")
    other = request.windows.filter(model=model).first()
    if other is not None:
        raise WorkflowError(
            "not-available", f"request {request.uuid} is in window {other.uuid} of this model: once is enough"
        )
    if request.dataset != model.dataset:
        raise WorkflowError(
            "wrong-dataset",
            f"request {request.uuid} is about dataset {request.dataset!r}, the model {model.dataset!r}: "
            "a mask forgets samples of one data set",
            422,
        )


def obstacle(request: DeletionRequest) -> str | None:
    """Why no mask may be made for this request now; None if nothing is in the way."""
    if request.state == DeletionRequest.State.OPEN:
        return "undecided" if request.verified else "undecided, and nobody was identified"
    if request.state != DeletionRequest.State.IN_PROGRESS:
        return request.state
    return "under a legal hold" if request.held else None
