"""Windows: opened for approved requests, closed, masked; the mask's orders go to every committed client
model.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.utils import timezone

from ledger import blobs, log, queue
from ledger.models import ClientModel, DeletionRequest, GlobalModel, Job, Order, Window
from ledger.statements import predicates
from ledger.workflow import events
from ledger.workflow.actors import SYSTEM, Actor
from ledger.workflow.errors import WorkflowError
from ledger.workflow.references import compose, public_forget, public_recipe
from ledger.workflow.step import exclusive, get_or_refuse, log_own


@dataclass(frozen=True)
class MaskCase:
    """What a mask job needs: the arguments of unlearning.recipe.compute_mask, and the expected total of
    weights.
    """

    window: uuid.UUID
    architecture: dict[str, Any]
    model_path: Path
    dataset: str
    config: dict[str, Any]
    targets: tuple[tuple[str, tuple[int, ...]], ...]
    total: int


@exclusive
def open_window(
    model: GlobalModel | uuid.UUID | str,
    mask_config: Mapping[str, Any] | None,
    request_ids: Iterable[uuid.UUID | str],
) -> Window:
    """Open a window for approved requests that name samples of one data set; its mask forgets them all.

    The mask configuration is the model's default, overlaid with `mask_config`; dataset and forget set come
    from the requests. Raises WorkflowError: unknown model or request (404), request not approved or in a
    window (409), requests that do not go together (422).
    """
    if not isinstance(model, GlobalModel):
        model = get_or_refuse(GlobalModel.objects.all(), "model", uuid=model)
    requests = [_approved(request_id) for request_id in dict.fromkeys(map(str, request_ids))]
    if not requests:
        raise WorkflowError("no-requests", "a window needs at least one approved request, got none", 422)
    dataset = requests[0].dataset
    if any(request.dataset != dataset for request in requests):
        raise WorkflowError("mixed-requests", "a mask forgets samples of one data set: open a window for each", 422)
    config = {**model.mask_config, **(mask_config or {})}
    wanted = {"dataset": dataset, "forget": public_forget(requests)}
    for key, value in wanted.items():
        if (mask_config or {}).get(key, value) != value:
            raise WorkflowError(
                "wrong-forget-set",
                f"the mask's {key} is {config[key]!r}, but the requests say {value!r}",
                422,
            )
    if dataset != model.dataset:
        raise WorkflowError(
            "wrong-dataset",
            f"the requests name dataset {dataset!r}, the model {model.dataset!r}",
            422,
        )
    window = Window.objects.create(model=model, mask_config=config | wanted)
    DeletionRequest.objects.filter(pk__in=[request.pk for request in requests]).update(window=window)
    return window


@exclusive
def close_window(window_id: uuid.UUID | str, *, actor: Actor = SYSTEM) -> Window:
    """Fix the window's requests in the log and start its mask job.

    Raises WorkflowError (409) unless it is open, or while another window of the model is not certified: its
    orders and ours would be about the same weights.
    """
    window = get_or_refuse(Window.objects.all(), "window", uuid=window_id)
    if window.state != Window.State.OPEN:
        raise WorkflowError("not-open", f"window {window.uuid} is {window.state}, only open ones are closed")
    earlier = window.model.windows.exclude(state__in=[Window.State.OPEN, Window.State.CERTIFIED]).first()
    if earlier is not None:
        raise WorkflowError(
            "window-pending", f"window {earlier.uuid} of this model is {earlier.state}: certify it first"
        )
    held = window.requests.filter(held=True).first()
    if held is not None:
        raise WorkflowError("held", f"request {held.uuid} in this window is under a legal hold: lift that first")
    decisions = [request.decision_entry for request in window.requests.order_by("decision_entry")]
    window.closed_entry = log_own(
        predicates.WindowClose(
            window=str(window.uuid),
            model=log.entry_ref(window.model.entry),
            decisions=[log.entry_ref(entry) for entry in decisions if entry is not None],
            closed_at=timezone.now(),
        )
    )
    window.state = Window.State.CLOSED
    window.save()
    events.record("window.closed", actor=actor, window=window.uuid, entry=window.closed_entry)
    queue.enqueue(Job.Kind.MASK, window.uuid)
    return window


def mask_case(window_id: uuid.UUID | str) -> MaskCase:
    """What the mask job of a closed window computes from. Raises WorkflowError (404)."""
    window = get_or_refuse(Window.objects.all(), "window", uuid=window_id)
    release = log.statement(window.model.entry).predicate
    assert isinstance(release, predicates.ModelRelease)
    return MaskCase(
        window=window.uuid,
        architecture=dict(window.model.architecture),
        model_path=blobs.path(window.model.file_sha256),
        dataset=window.model.dataset,
        config=window.mask_config | {"forget": compose(window.requests.all())},
        targets=tuple((target.name, tuple(target.shape)) for target in release.targets),
        total=window.model.total_weights,
    )


@exclusive
def publish_mask(
    window_id: uuid.UUID | str, mask: bytes, masked: int, total: int, recipe: Mapping[str, Any]
) -> Window:
    """Store and log a window's mask, then log an order for every client model that was committed before it.

    The same mask again changes nothing. Raises WorkflowError: unknown (404), not closed or masked otherwise
    (409), counts that do not fit the model (422).
    """
    window = get_or_refuse(Window.objects.all(), "window", uuid=window_id)
    if total != window.model.total_weights or not 0 < masked < total:
        raise WorkflowError(
            "wrong-mask",
            f"got {masked} of {total} weights masked, the model has {window.model.total_weights}",
            422,
        )
    blob, _ = blobs.put(mask)
    if window.mask_sha256 == blob.sha256:
        return window
    if window.state != Window.State.CLOSED or window.closed_entry is None:
        raise WorkflowError("not-closed", f"window {window.uuid} is {window.state}, only closed ones get a mask")
    window.mask_entry = log_own(
        predicates.Mask(
            window=str(window.uuid),
            closed=log.entry_ref(window.closed_entry),
            model=log.entry_ref(window.model.entry),
            mask_sha256=blob.sha256,
            masked=masked,
            total=total,
            recipe=public_recipe(recipe, window.requests.all()),
        )
    )
    window.mask_sha256, window.masked, window.state = blob.sha256, masked, Window.State.MASKED
    window.save()
    _issue_orders(window)
    return window


def _issue_orders(window: Window) -> None:
    assert window.mask_entry is not None
    due_at = min(request.due_at for request in window.requests.all())
    committed = ClientModel.objects.filter(
        model=window.model, state=ClientModel.State.CURRENT, entry__index__lt=window.mask_entry.index
    )
    for client_model in committed.select_related("client", "circuit__entry", "entry").order_by("entry"):
        name = uuid.uuid4()
        entry = log_own(
            predicates.Order(
                order=str(name),
                window=str(window.uuid),
                client=str(client_model.client.uuid),
                commitment=log.entry_ref(client_model.entry),
                mask=log.entry_ref(window.mask_entry),
                circuit=log.entry_ref(client_model.circuit.entry),
                due_at=due_at,
            )
        )
        Order.objects.create(uuid=name, window=window, client_model=client_model, due_at=due_at, entry=entry)


def _approved(request_id: str) -> DeletionRequest:
    request = get_or_refuse(DeletionRequest.objects.all(), "deletion request", uuid=request_id)
    if request.state != DeletionRequest.State.IN_PROGRESS or request.window_id is not None:
        where = f"is in window {request.window_id}" if request.window_id else f"is {request.state}"
        raise WorkflowError("not-available", f"request {request.uuid} {where}: a window takes approved, free ones")
    if request.held:
        raise WorkflowError("held", f"request {request.uuid} is under a legal hold: lift it first")
    return request
