"""Scheduled work on windows, part of the beat's round: open and close them, issue certificates.

Every function may run anywhere, at any time, any number of times: what is due is decided again under the log's
lock, and a round that was missed is made up for by the next one.
"""

from __future__ import annotations

import logging
import uuid
from datetime import datetime, timedelta

from django.utils import timezone

from ledger.models import DeletionRequest, GlobalModel, Order, Window
from ledger.workflow.certificates import certify
from ledger.workflow.errors import WorkflowError
from ledger.workflow.membership import waiting
from ledger.workflow.policies import Schedule, effective, policy_row
from ledger.workflow.settling import OVER
from ledger.workflow.step import exclusive
from ledger.workflow.windows import close_window, open_window

logger = logging.getLogger(__name__)


def run_schedules() -> list[Window]:
    """Open and close the windows whose time has come; returns them."""
    made = []
    for model in GlobalModel.objects.filter(retired_entry=None).order_by("entry"):
        if effective(model).schedule is None:
            continue
        try:
            window = _run(model.pk)
        except WorkflowError as error:
            logger.warning("the schedule of model %s has to wait: %s", model.pk, error.sentence)
            continue
        made += [window] if window else []
    return made


def certify_due() -> list[Window]:
    """Certify the windows whose policy says so: all clients have answered, or have had their time."""
    done = []
    for window in Window.objects.filter(state__in=[Window.State.MASKED, Window.State.SETTLED]).order_by(
        "created_at"
    ):
        if _may_be_certified(window, timezone.now()):
            try:
                certify(window.pk)
            except WorkflowError as error:
                logger.info("window %s is not certified yet: %s", window.pk, error.sentence)
                continue
            done.append(window)
    return done


@exclusive
def _run(model_id: uuid.UUID) -> Window | None:
    """One model's turn. Nothing changes unless the window was opened and closed."""
    model = GlobalModel.objects.get(pk=model_id)
    row, schedule = policy_row(model), effective(model).schedule
    if row is None or schedule is None:
        return None
    now = timezone.now()
    chosen = waiting(model)[: schedule.max_requests]
    last = max(row.anchored_at, model.batched_at or row.anchored_at)
    called = schedule.ran_into(last, row.anchored_at, now)
    if not (called and len(chosen) >= schedule.min_requests) and not _pressing(chosen, schedule, now):
        if called:
            _ran(model, now)  # too few: they wait for the schedule's next moment
        return None
    if model.windows.exclude(state__in=[Window.State.OPEN, Window.State.CERTIFIED]).exists():
        return None  # its turn comes when the window before it is certified
    window = open_window(model, None, [request.pk for request in chosen])
    close_window(window.pk)
    _ran(model, now)
    return window


def _ran(model: GlobalModel, now: datetime) -> None:
    GlobalModel.objects.filter(pk=model.pk).update(batched_at=now)


def _pressing(chosen: list[DeletionRequest], schedule: Schedule, now: datetime) -> bool:
    """Whether the most urgent request is due so soon that it must not wait."""
    if not chosen or schedule.close_days_before_due is None:
        return False
    return chosen[0].due_at - timedelta(days=schedule.close_days_before_due) <= now


def _may_be_certified(window: Window, now: datetime) -> bool:
    days = effective(window.model, window.policy).certify_days_after_due
    if days is None:
        return False
    orders = list(window.orders.all())
    if all(order.state in OVER and order.state != Order.State.REJECTED for order in orders):
        return True
    return all(order.due_at + timedelta(days=days) < now for order in orders)
