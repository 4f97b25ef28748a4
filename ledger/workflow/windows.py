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
from django.utils.translation import gettext as _
from pydantic.alias_generators import to_camel

from ledger import blobs, log, queue
from ledger.models import ClientModel, GlobalModel, Job, Order, Window
from ledger.statements import predicates
from ledger.statements.predicates.window_policy import WindowPolicy
from ledger.statements.predicates.window_requests import MOST_DECISIONS
from ledger.workflow import events
from ledger.workflow.actors import SYSTEM, Actor
from ledger.workflow.errors import WorkflowError
from ledger.workflow.lists import log_requests
from ledger.workflow.membership import enter, expect_resolved, open_one
from ledger.workflow.orders import OURS, issue_orders
from ledger.workflow.policies import effective
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
    *,
    policy: Mapping[str, Any] | None = None,
    actor: Actor = SYSTEM,
) -> Window:
    """Open a window for requests about a model's data set; its mask forgets what all of them name.

    The mask configuration is the model's default, overlaid with its policy's and with `mask_config`; what to forget
    follows from the requests when the window closes. `policy` holds what differs from the model's policy. Raises
    WorkflowError: unknown model or request (404), request over or in a window of this model, model retired (409),
    requests or policy that do not fit (422).
    """
    if not isinstance(model, GlobalModel):
        model = get_or_refuse(GlobalModel.objects.all(), "model", uuid=model)
    if model.retired_entry_id is not None:
        raise WorkflowError(
            "model-retired",
            _("model %(uuid)s was retired: nothing is to be unlearned on it") % {"uuid": model.uuid},
        )
    ids = list(request_ids)
    if not ids:
        raise WorkflowError("no-requests", _("a window needs at least one approved request, got none"), 422)
    changes = _window_changes(model, policy or {})
    config = {**model.mask_config, **effective(model, changes).mask_config, **(mask_config or {})}
    window = Window.objects.create(model=model, mask_config=config, policy=changes)
    enter(window, ids)
    _expect_no_other_forget_set(window, mask_config or {})
    events.record("window.opened", actor=actor, window=window.uuid, model=model.uuid)
    return window


@exclusive
def close_window(window_id: uuid.UUID | str, *, actor: Actor = SYSTEM) -> Window:
    """Fix the window's requests and its policy in the log and start its mask job.

    Raises WorkflowError (409) unless it is open and all of its requests are resolved, or while another window of
    the model is not certified (its orders and ours would be about the same weights).
    """
    window = open_one(window_id)
    expect_resolved(window)
    _expect_turn(window)
    requests = window.requests.select_related("decision_entry").order_by("decision_entry")
    decisions = [
        log.entry_ref(request.decision_entry) for request in requests if request.decision_entry is not None
    ]
    if not decisions:
        raise WorkflowError(
            "no-requests",
            _("window %(uuid)s is empty: put requests into it, or discard it") % {"uuid": window.uuid},
        )
    policy = effective(window.model, window.policy).logged()
    listed = log_requests(window, decisions) if len(decisions) > MOST_DECISIONS else None
    window.closed_entry = log_own(
        predicates.WindowClose(
            window=str(window.uuid),
            model=log.entry_ref(window.model.entry),
            decisions=decisions if listed is None else [],
            requests_in=listed,
            closed_at=timezone.now(),
            policy=policy,
        )
    )
    window.mask_config |= {"dataset": window.model.dataset, "forget": public_forget(requests)}
    window.policy, window.state = policy.model_dump(mode="json", by_alias=True), Window.State.CLOSED
    window.save()
    events.record(
        "window.closed", actor=actor, window=window.uuid, model=window.model_id, entry=window.closed_entry
    )
    queue.enqueue(Job.Kind.MASK, window.uuid)
    return window


def _expect_turn(window: Window) -> None:
    """One window of a model after the other, and no late answer is overtaken while it is being judged."""
    earlier = window.model.windows.exclude(state__in=[Window.State.OPEN, Window.State.CERTIFIED]).first()
    if earlier is not None:
        raise WorkflowError(
            "window-pending",
            _("window %(uuid)s of this model is %(state)s: certify it first")
            % {"uuid": earlier.uuid, "state": _(earlier.state)},
        )
    judged = Order.objects.filter(window__model=window.model, state__in=OURS).first()
    if judged is not None:
        raise WorkflowError(
            "order-pending",
            _("order %(uuid)s was answered late and is %(state)s: wait for its verdict")
            % {"uuid": judged.uuid, "state": _(judged.state)},
        )


def _window_changes(model: GlobalModel, policy: Mapping[str, Any]) -> dict[str, Any]:
    """What a single window may ask otherwise than its model's policy."""
    alien = sorted(set(policy) - {to_camel(name) for name in WindowPolicy.model_fields})
    if alien:
        raise WorkflowError(
            "bad-policy",
            _("%(alien)s belongs to a model's policy, not to a single window's") % {"alien": alien[0]},
            422,
        )
    effective(model, policy)
    return dict(policy)


def _expect_no_other_forget_set(window: Window, mask_config: Mapping[str, Any]) -> None:
    wanted = {"dataset": window.model.dataset, "forget": public_forget(window.requests.all())}
    for key, value in wanted.items():
        if mask_config.get(key, value) != value:
            raise WorkflowError(
                "wrong-forget-set",
                _("the mask's %(key)s is %(mask_config)s, but the requests say %(value)s")
                % {"key": key, "mask_config": repr(mask_config[key]), "value": repr(value)},
                422,
            )


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


def circuits_committed_under(window_id: uuid.UUID | str) -> list[predicates.CircuitRelease]:
    """The circuit releases of those who will get orders of this window; its forget directions must fit them."""
    held = ClientModel.objects.filter(model__windows__uuid=window_id, state=ClientModel.State.CURRENT)
    releases = [log.statement(one.circuit.entry).predicate for one in held.select_related("circuit__entry")]
    return [one for one in releases if isinstance(one, predicates.CircuitRelease)]


@exclusive
def publish_mask(
    window_id: uuid.UUID | str, mask: bytes, masked: int, total: int, recipe: Mapping[str, Any],
    directions: bytes | None = None,
) -> Window:  # fmt: skip
    """Store and log a window's mask, with its forget directions if it has some, then log an order for every client
    model that was committed before it.

    The same mask again changes nothing. Raises WorkflowError: unknown (404), not closed or masked otherwise
    (409), counts that do not fit the model (422).
    """
    window = get_or_refuse(Window.objects.all(), "window", uuid=window_id)
    if total != window.model.total_weights or not 0 < masked < total:
        raise WorkflowError(
            "wrong-mask",
            _("got %(masked)s of %(total)s weights masked, the model has %(total_weights)s")
            % {"masked": masked, "total": total, "total_weights": window.model.total_weights},
            422,
        )
    blob, _made = blobs.put(mask)
    if window.mask_sha256 == blob.sha256:
        return window
    if window.state != Window.State.CLOSED or window.closed_entry is None:
        raise WorkflowError(
            "not-closed",
            _("window %(uuid)s is %(state)s, only closed ones get a mask")
            % {"uuid": window.uuid, "state": _(window.state)},
        )
    window.mask_entry = log_own(
        predicates.Mask(
            window=str(window.uuid),
            closed=log.entry_ref(window.closed_entry),
            model=log.entry_ref(window.model.entry),
            mask_sha256=blob.sha256,
            masked=masked,
            total=total,
            directions_sha256=None if directions is None else blobs.put(directions)[0].sha256,
            recipe=public_recipe(recipe, window.requests.all()),
        )
    )
    window.mask_sha256, window.masked, window.state = blob.sha256, masked, Window.State.MASKED
    window.save()
    events.record(
        "window.masked", window=window.uuid, model=window.model_id, entry=window.mask_entry, data={"masked": masked}
    )
    issue_orders(window)
    return window
