"""Which requests are in a window while it is open, and which of them keep it from closing."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable
from typing import Final

from django.utils.translation import gettext as _

from ledger.models import DeletionRequest, GlobalModel, Window
from ledger.workflow import events
from ledger.workflow.actors import SYSTEM, Actor
from ledger.workflow.errors import WorkflowError
from ledger.workflow.policies import MAX_REQUESTS
from ledger.workflow.step import exclusive, get_or_refuse

Ids = Iterable[uuid.UUID | str]
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
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
    wanted = _requests(dict.fromkeys(map(str, request_ids)))
    holders = _windows_of(wanted, window.model)
    new = [request for request in wanted if holders.get(request.pk) != window.pk]
    for request in new:
        _expect_free(request, window.model, holders.get(request.pk))
    window.requests.add(*new)
    if window.requests.count() > MAX_REQUESTS:
        raise WorkflowError(
            "too-many-requests",
            _("a window takes at most %(max_requests)s requests") % {"max_requests": MAX_REQUESTS},
            422,
        )


def _requests(ids: Iterable[str]) -> list[DeletionRequest]:
    """Those of these UUIDs, each once. Raises WorkflowError naming the first that is unknown (404)."""
    rows = DeletionRequest.objects.in_bulk([one for one in ids if _UUID.fullmatch(one)])
    found = {str(row.pk): row for row in rows.values()}
    asked = (
        found.get(one) or get_or_refuse(DeletionRequest.objects.all(), "deletion request", uuid=one) for one in ids
    )
    return list({request.pk: request for request in asked}.values())


def _windows_of(requests: Iterable[DeletionRequest], model: GlobalModel) -> dict[uuid.UUID, uuid.UUID]:
    """The window of this model that each request is in, if any, by request."""
    pairs = Window.requests.through.objects.filter(
        deletionrequest__in=[one.pk for one in requests], window__model=model
    )
    return dict(pairs.values_list("deletionrequest_id", "window_id"))


def open_one(window_id: uuid.UUID | str) -> Window:
    """An open window. Raises WorkflowError: unknown (404), closed (409): what was logged stays as it is."""
    window = get_or_refuse(Window.objects.select_related("model"), "window", uuid=window_id)
    if window.state != Window.State.OPEN:
        raise WorkflowError(
            "not-open",
            _("window %(uuid)s is %(state)s: its requests are in the log and stay as they are")
            % {"uuid": window.uuid, "state": _(window.state)},
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
        _("request %(uuid)s is %(why)s") % {"uuid": request.uuid, "why": why}
        for request in window.requests.order_by("filed_entry")
        if (why := obstacle(request)) is not None
    ]
    if stuck:
        more = _(" and %(n)d more") % {"n": len(stuck) - 10} if len(stuck) > 10 else ""
        raise WorkflowError(
            "unresolved-requests",
            _("window %(uuid)s cannot close: %(stuck)s%(more)s. Resolve them, or take them out of the window")
            % {"uuid": window.uuid, "stuck": "; ".join(stuck[:10]), "more": more},
        )


def _changed(window: Window, actor: Actor) -> None:
    events.record(
        "window.changed", actor=actor, window=window.uuid, model=window.model_id,
        data={"requests": window.requests.count()},
    )  # fmt: skip


def _expect_free(request: DeletionRequest, model: GlobalModel, holder: uuid.UUID | None) -> None:
    if request.state not in _LIVE:
        raise WorkflowError(
            "not-available",
            _("request %(uuid)s is %(state)s: a window takes open and approved ones")
            % {"uuid": request.uuid, "state": _(request.state)},
        )
    if request.held:
        raise WorkflowError(
            "held", _("request %(uuid)s is under a legal hold: lift it first") % {"uuid": request.uuid}
        )
    if holder is not None:
        raise WorkflowError(
            "not-available",
            _("request %(uuid)s is in window %(uuid2)s of this model: once is enough")
            % {"uuid": request.uuid, "uuid2": holder},
        )
    if request.dataset != model.dataset:
        raise WorkflowError(
            "wrong-dataset",
            _(
                "request %(uuid)s is about dataset %(dataset)s, the model %(dataset2)s: a mask "
                "forgets samples of one data set"
            )
            % {"uuid": request.uuid, "dataset": repr(request.dataset), "dataset2": repr(model.dataset)},
            422,
        )


def obstacle(request: DeletionRequest) -> str | None:
    """Why no mask may be made for this request now; None if nothing is in the way."""
    if request.state == DeletionRequest.State.OPEN:
        return _("undecided") if request.verified else _("undecided, and nobody was identified")
    if request.state != DeletionRequest.State.IN_PROGRESS:
        return _(request.state)
    return _("under a legal hold") if request.held else None
