"""One action on many rows, as a job.

1. `start` writes the run with a line for each row, and queues a job;
2. a worker carries it out line by line (`carry_out`): the row's change and the line's outcome are one transaction,
   so a worker that dies has done whole rows only, and the next one goes on behind them;
3. a refusal is the outcome of its row, in a sentence in the officer's language; the others go on;
4. who has asked must still be allowed to when a row's turn comes.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.contrib.auth import get_user_model
from django.db import transaction
from django.utils import timezone, translation
from django.utils.translation import gettext as _

from ledger import queue
from ledger.models import BulkRow, BulkRun, Job
from ledger.workflow import request_steps
from ledger.workflow.actors import Actor
from ledger.workflow.errors import WorkflowError
from ledger.workflow.orders import except_order
from ledger.workflow.requests import decide_request
from ledger.workflow.silence import remind
from ledger.workflow.step import exclusive, get_or_refuse

Report = Callable[[int, int], None]
Values = Mapping[str, Any]
AT_ONCE: Final = 20  # rows that a page handles while its officer waits
MOST: Final = 900  # rows of a run: as many as a form of Django's takes, with some to spare


@dataclass(frozen=True)
class Deed:
    """What is done to a row, and the permission that it takes, then and now."""

    permission: str
    use_case: Callable[[uuid.UUID, Values, Actor], object]


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


_REQUEST: Final = "ledger.change_deletionrequest"
_DECIDE: Final = "ledger.decide_deletionrequest"
_ORDER: Final = "ledger.change_order"
DEEDS: Final[Mapping[tuple[str, str], Deed]] = {
    ("deletionrequest", "acknowledge"): Deed(
        _REQUEST, lambda pk, _v, who: request_steps.acknowledge(pk, actor=who)
    ),
    ("deletionrequest", "approve"): Deed(
        _DECIDE, lambda pk, v, who: decide_request(pk, "approved", v["reason"], actor=who)
    ),
    ("deletionrequest", "deny"): Deed(
        _DECIDE, lambda pk, v, who: decide_request(pk, "denied", v["reason"], actor=who)
    ),
    ("deletionrequest", "extend"): Deed(
        _REQUEST, lambda pk, v, who: request_steps.extend(pk, v["reason"], _time(v["notified_at"]), actor=who)
    ),
    ("deletionrequest", "hold"): Deed(
        _REQUEST, lambda pk, v, who: request_steps.set_hold(pk, v["reason"], actor=who)
    ),
    ("deletionrequest", "lift"): Deed(
        _REQUEST, lambda pk, v, who: request_steps.lift_hold(pk, v["reason"], actor=who)
    ),
    ("deletionrequest", "revoke"): Deed(
        _REQUEST, lambda pk, v, who: request_steps.revoke(pk, v["reason"], actor=who)
    ),
    ("order", "remind"): Deed(_ORDER, lambda pk, _v, who: remind(pk, actor=who)),
    ("order", "release"): Deed(_ORDER, lambda pk, v, who: except_order(pk, v["reason"], actor=who)),
}


@exclusive
def start(table: str, action: str, targets: Iterable[uuid.UUID], values: Values, *, actor: Actor) -> BulkRun:
    """Queue an action on these rows. Raises WorkflowError (422): too many, or none."""
    chosen = list(dict.fromkeys(targets))
    if not 1 <= len(chosen) <= MOST:
        raise WorkflowError(
            "too-many-rows", _("choose 1 to %(most)d rows, got %(n)d") % {"most": MOST, "n": len(chosen)}, 422
        )
    kept = {name: one.isoformat() if isinstance(one, datetime) else one for name, one in values.items()}
    run = BulkRun.objects.create(
        table=table,
        action=action,
        values=kept,
        language=translation.get_language() or "",
        rows=len(chosen),
        actor_kind=actor.kind,
        actor_id=actor.id,
        actor_name=actor.name,
    )
    BulkRow.objects.bulk_create(BulkRow(run=run, target=target) for target in chosen)
    queue.enqueue(Job.Kind.BULK, run.uuid)
    return run


def carry_out(run_id: uuid.UUID | str, report: Report) -> BulkRun:
    """A worker's part: every line that has no outcome yet. Again: nothing happens."""
    run = get_or_refuse(BulkRun.objects.all(), "bulk action", uuid=run_id)
    waiting = list(run.lines.filter(outcome=BulkRow.Outcome.WAITING).values_list("pk", flat=True))
    with translation.override(run.language or None):
        for k, line in enumerate(waiting, run.rows - len(waiting) + 1):
            _do(run, line)
            report(k, run.rows)
    BulkRun.objects.filter(pk=run.pk, finished_at=None).update(finished_at=timezone.now())
    run.refresh_from_db()
    return run


@transaction.atomic
def _do(run: BulkRun, line_id: int) -> None:
    """One row: its change and its outcome, or neither."""
    line = BulkRow.objects.select_for_update().get(pk=line_id)
    if line.outcome != BulkRow.Outcome.WAITING:
        return
    deed = DEEDS[run.table, run.action]
    actor = Actor(run.actor_kind, run.actor_id, run.actor_name)  # type: ignore[arg-type]  # as it was stored
    try:
        _expect_allowed(actor, deed.permission)
        deed.use_case(line.target, run.values, actor)
    except WorkflowError as error:
        line.outcome, line.sentence = BulkRow.Outcome.REFUSED, error.sentence[:1000]
    else:
        line.outcome = BulkRow.Outcome.DONE
    line.save()


def _expect_allowed(actor: Actor, permission: str) -> None:
    user = get_user_model().objects.filter(pk=actor.id, is_active=True, is_staff=True).first()
    if user is None or not user.has_perm(permission):
        raise WorkflowError("permission-denied", _("the account may no longer do this"), 403)
