"""The first page: what needs somebody today. Each panel is one or two queries, whatever the number of rows.

Accounts that are limited to certain models see figures of these only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, Final

from django.db.models import Count, Min, Prefetch, Q, QuerySet, Subquery
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from ledger import log, publication, queue
from ledger.access import scope
from ledger.models import (
    Checkpoint,
    DeletionRequest,
    FsckRun,
    Job,
    LogEntry,
    Order,
    VerdictRecord,
    Window,
    WitnessState,
)
from ledger.statements import lifecycle
from ledger.workflow.silence import silent_orders

_ROWS: Final = 6
_CLIENTS: Final = 12  # of a window, by name; of more, only figures
#: From today on: upper end in days, and what the bar is called.
_DUE: Final[tuple[tuple[int | None, Any], ...]] = (
    (0, _("overdue")), (3, _("3 days")), (7, _("1 week")), (14, _("2 weeks")), (21, _("3 weeks")),
    (30, _("30 days")), (None, _("later")),
)  # fmt: skip
#: How far an order is, for its bar: the answer so far, and what the bar says.
STEPS: Final[tuple[tuple[str, Any], ...]] = (
    ("met", _("met")), ("excepted", _("excepted")), ("proved", _("being verified")),
    ("challenged", _("proving")), ("claimed", _("challenge being drawn")), ("issued", _("no answer yet")),
    ("rejected", _("rejected")),
)  # fmt: skip


def context(request: HttpRequest, shown: dict[str, Any]) -> dict[str, Any]:
    """What the page's template needs. django-unfold calls this."""
    now = timezone.now()
    shown |= {"now": now, **progress(request)}
    panels: dict[str, tuple[str, Callable[[HttpRequest, datetime], Any]]] = {
        "requests": ("deletionrequest", _requests),
        "rejected": ("verdictrecord", _rejected),
        "silent": ("order", _silent),
        "log": ("logentry", _log),
    }
    for name, (model, make) in panels.items():
        if request.user.has_perm(f"ledger.view_{model}"):
            shown[name] = make(request, now)
    return shown


def progress(request: HttpRequest) -> dict[str, Any]:
    """The panels that change while somebody looks: windows under way, and jobs."""
    found: dict[str, Any] = {}
    if request.user.has_perm("ledger.view_window"):
        found["windows"] = _windows(scope.visible(request.user, Window.objects.all()))
    if request.user.has_perm("ledger.view_job"):
        found["queue"] = _queue(request)
    return found


def _list(model: str, query: str = "") -> str:
    return reverse(f"admin:ledger_{model}_changelist") + query


def _requests(request: HttpRequest, now: datetime) -> dict[str, Any]:
    """By state and by days left; what waits for a decision; the next that are due, overdue ones first."""
    rows = scope.visible(request.user, DeletionRequest.objects.all())
    live = rows.filter(state__in=lifecycle.LIVE)
    undecided = Q(state=lifecycle.OPEN)
    found = live.aggregate(
        open=Count("pk", filter=undecided),
        identify=Count("pk", filter=undecided & Q(verified=False) & Q(policy__identity_required=True)),
        acknowledge=Count("pk", filter=undecided & Q(acknowledged_entry=None, acknowledge_by__isnull=False)),
        **due_counts(now),
    )
    waiting = {"decide": found["open"] - found["identify"]} | {k: found[k] for k in ("identify", "acknowledge")}
    bars = due_bars(found)
    soonest = list(live.order_by("due_at")[:_ROWS])
    for row in soonest:
        row.days = days(row.due_at, now)  # type: ignore[attr-defined]  # for the template
    return {
        "total": found["due_all"], "late": bars[0]["count"], "bars": bars,
        "soonest": soonest, "waiting": waiting,
        "open": found["open"], "in_progress": found["due_all"] - found["open"],
        "list": _list("deletionrequest"), "open_list": _list("deletionrequest", "?state__exact=open"),
        "late_list": _list("deletionrequest", "?left=late"),
    }  # fmt: skip


def due_counts(now: datetime) -> dict[str, Count]:
    """How many requests are due before the end of each bar, and how many there are: aggregates for `due_bars`.

    One pass over the rows. Grouped by bar they would be sorted first: a planner cannot tell how few bars there are.
    """
    ends = ((k, end) for k, (end, _label) in enumerate(_DUE) if end is not None)
    before = {f"due_{k}": Count("pk", filter=Q(due_at__lt=now + timedelta(days=end))) for k, end in ends}
    return before | {"due_all": Count("*")}


def due_bars(found: Mapping[str, int]) -> list[dict[str, Any]]:
    """A histogram's bars from what `due_counts` counted."""
    reached = [0, *(found["due_all" if end is None else f"due_{k}"] for k, (end, _label) in enumerate(_DUE))]
    counts = [here - before for before, here in pairwise(reached)]
    most = max(counts) or 1
    return [
        {"label": label, "count": count, "height": round(100 * count / most), "late": k == 0}
        for k, ((_end, label), count) in enumerate(zip(_DUE, counts, strict=True))
    ]


def days(due: datetime, now: datetime) -> str:
    """How long is left, or how late it is, in words."""
    left = (due - now).days
    if due >= now:
        return gettext("today") if left == 0 else ngettext("%d day left", "%d days left", left) % left
    late = (now - due).days
    return gettext("late since today") if late == 0 else ngettext("%d day late", "%d days late", late) % late


def _windows(rows: QuerySet[Window]) -> dict[str, Any]:
    """Windows under way with how far each client is."""
    under_way = rows.filter(state__in=[Window.State.CLOSED, Window.State.MASKED, Window.State.SETTLED])
    counts = {f"in_{state}": Count("orders", filter=Q(orders__state=state)) for state, _label in STEPS}
    shown = list(
        under_way.select_related("model").annotate(all=Count("orders"), due=Min("orders__due_at"), **counts)
        .prefetch_related(Prefetch("orders", _by_name(), to_attr="first"))
        .order_by("-created_at")[:_ROWS]
    )  # fmt: skip
    for window in shown:
        window.bar = bar({state: getattr(window, f"in_{state}") for state, _label in STEPS})  # type: ignore[attr-defined]
    waiting = 0 if shown else rows.filter(state=Window.State.OPEN).count()  # said where nothing is under way
    return {"rows": shown, "open": waiting, "list": _list("window")}


def _by_name() -> QuerySet[Order]:
    """The first clients of each window."""
    return Order.objects.select_related("client_model__client").order_by("client_model__client__name")[:_CLIENTS]


def bar(counts: dict[str, int]) -> list[dict[str, Any]]:
    """The parts of a bar, in the order of STEPS, with their share in per cent."""
    total = sum(counts.values()) or 1
    return [
        {"state": state, "label": label, "count": counts[state], "share": round(100 * counts[state] / total, 2)}
        for state, label in STEPS
        if counts.get(state)
    ]


def _rejected(request: HttpRequest, _now: datetime) -> list[VerdictRecord]:
    """Rejections that no later attempt has made good."""
    rows = scope.visible(request.user, VerdictRecord.objects.all())
    rows = rows.filter(accepted=False, proof__claim__order__state=Order.State.REJECTED)
    return list(
        rows.select_related("proof__claim__order__client_model__client", "entry").order_by("-entry")[:_ROWS]
    )


def _silent(request: HttpRequest, now: datetime) -> list[Order]:
    """Orders past their due date whose client's move is next, latest first."""
    rows = scope.visible(request.user, silent_orders().prefetch_related(None)).filter(due_at__lt=now)[:_ROWS]
    for row in rows:
        row.days = days(row.due_at, now)  # type: ignore[attr-defined]  # for the template
    return list(rows)


def _log(_request: HttpRequest, now: datetime) -> dict[str, Any]:
    """Whether the log is signed, witnessed and checked, and by when."""
    last = LogEntry.objects.order_by("-index").values("index")[:1]
    head = Checkpoint.objects.order_by("-size").annotate(last=Subquery(last)).first()
    size = log.size() if head is None else head.last + 1
    known = {row.vkey: row for row in WitnessState.objects.all()}
    witnesses = [known.get(one.vkey) or WitnessState(vkey=one.vkey) for one in publication.policy().witnesses]
    checked = FsckRun.objects.first()
    return {
        "size": size, "head": head, "waiting": size - (head.size if head else 0), "witnesses": witnesses,
        "alarm": any(row.alarm for row in known.values()), "check": checked,
        "unchecked": checked is None or now - checked.started_at > timedelta(seconds=2 * queue.FSCK_SECONDS),
        "stale": head is None or (size > head.size and now - head.created_at > timedelta(minutes=10)),
    }  # fmt: skip


def _queue(request: HttpRequest) -> dict[str, Any]:
    """What workers do, what waits for them, what has failed."""
    rows = scope.visible(request.user, Job.objects.all())
    counts = rows.exclude(state=Job.State.DONE).aggregate(
        queued=Count("pk", filter=Q(state=Job.State.QUEUED)),
        running=Count("pk", filter=Q(state=Job.State.RUNNING)),
        failed=Count("pk", filter=Q(state=Job.State.FAILED)),
        oldest=Min("created_at", filter=Q(state=Job.State.QUEUED)),
    )
    running = list(rows.filter(state=Job.State.RUNNING).order_by("created_at")[:_ROWS]) if counts["running"] else []
    for job in running:
        job.percent = round(100 * job.progress)  # type: ignore[attr-defined]  # for the template
    late = counts["oldest"] is not None and timezone.now() - counts["oldest"] > 2 * queue.message_patience()
    return {**counts, "rows": running, "idle": late and not counts["running"], "list": _list("job"),
            "failed_list": _list("job", "?state__exact=failed")}  # fmt: skip
