"""How far a window, an order or a job is: what pages show as a bar and as lines, and keep up to date."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, Final

from django.db.models import Count, Q
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from ledger.admin import figures
from ledger.admin.home import bar
from ledger.models import Claim, Job, Order, ProofSubmission, Window

_JOBS: Final = 12
_STEPS: Final[Mapping[str, Any]] = {
    Order.State.ISSUED: _("The client has not answered yet."),
    Order.State.CLAIMED: _("The client has answered; its challenge is being drawn."),
    Order.State.CHALLENGED: _("The challenge is drawn; the client is proving."),
    Order.State.PROVED: _("The proof has come in and is being verified."),
    Order.State.MET: _("It is met."),
    Order.State.REJECTED: _("The proof was rejected; the client may try again."),
    Order.State.EXCEPTED: _("The client is released from it."),
}
_KINDS: Final = (Job.Kind.CHALLENGE, Job.Kind.VERIFY)  # about answers of clients


def of_window(window: Window) -> dict[str, Any]:
    """Its orders by state, and the jobs that workers do for it."""
    counts = dict(window.orders.order_by().values_list("state").annotate(Count("pk")))
    about = {"order__window": window}
    jobs = Q(kind=Job.Kind.MASK, target=window.pk)
    return {"bar": bar(counts), "hint": "" if counts else _hint(window), "jobs": _jobs(about, jobs),
            "checked": figures.of_window(window)}  # fmt: skip


def of_order(order: Order) -> dict[str, Any]:
    """The step it has come to, and the jobs about its answers."""
    return {"bar": [], "hint": _STEPS[order.state], "jobs": _jobs({"order": order})}


def of_job(job: Job) -> dict[str, Any]:
    """Itself."""
    return {"bar": [], "hint": "", "jobs": [_shown(job, "")]}


def _hint(window: Window) -> str:
    if window.state == Window.State.OPEN:
        return gettext("It is open: put requests in, then close it. A worker computes its mask then.")
    if window.state == Window.State.CLOSED:
        return gettext("Its mask is being computed; orders follow.")
    return gettext("No client had a model to unlearn.")


def _jobs(about: Mapping[str, Any], others: Q | None = None) -> list[Job]:
    """Jobs about claims and proofs of these orders that are not done, and others; newest first."""
    clients: dict[uuid.UUID, str] = {}
    for rows, prefix in ((Claim.objects.all(), ""), (ProofSubmission.objects.all(), "claim__")):
        found = rows.filter(**{prefix + path: value for path, value in about.items()})
        clients |= dict(found.values_list("pk", f"{prefix}order__client_model__client__name"))
    wanted = Q(kind__in=_KINDS, target__in=clients) & ~Q(state=Job.State.DONE)
    jobs = Job.objects.filter(wanted if others is None else wanted | others).order_by("-created_at")[:_JOBS]
    return [_shown(job, clients.get(job.target, "")) for job in jobs]


def _shown(job: Job, client: str) -> Any:
    """The job with what the template shows beside its fields."""
    row: Any = job
    row.client, row.percent = client, round(100 * job.progress)
    return row
