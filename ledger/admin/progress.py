"""How far a window is: its orders by state, and the jobs that workers do for it."""

from __future__ import annotations

import uuid
from typing import Any, Final

from django.db.models import Count, Q
from django.utils.translation import gettext as _

from ledger.admin.home import bar
from ledger.models import Claim, Job, ProofSubmission, Window

_JOBS: Final = 12


def of(window: Window) -> dict[str, Any]:
    """What the part of the page shows."""
    counts = dict(window.orders.order_by().values_list("state").annotate(Count("pk")))
    return {"bar": bar(counts), "hint": _hint(window), "jobs": _jobs(window)}


def _hint(window: Window) -> str:
    if window.state == Window.State.OPEN:
        return _("It is open: put requests in, then close it. A worker computes its mask then.")
    if window.state == Window.State.CLOSED:
        return _("Its mask is being computed; orders follow.")
    return _("No client had a model to unlearn.")


def _jobs(window: Window) -> list[Job]:
    """The mask's job, and those about answers of clients that are not done, newest first."""
    clients: dict[uuid.UUID, str] = {}
    for model, path in ((Claim, "order"), (ProofSubmission, "claim__order")):
        rows = model._default_manager.filter(**{f"{path}__window": window})  # noqa: SLF001 - Django's public name
        clients |= dict(rows.values_list("pk", f"{path}__client_model__client__name"))
    about = Q(target__in=clients) & ~Q(state=Job.State.DONE)
    jobs = list(Job.objects.filter(Q(kind=Job.Kind.MASK, target=window.pk) | about).order_by("-created_at")[:_JOBS])
    for job in jobs:
        job.client = clients.get(job.target, "")  # type: ignore[attr-defined]  # for the template
        job.percent = round(100 * job.progress)  # type: ignore[attr-defined]
    return jobs
