"""Charts: due dates, windows, and what was checked of each client. Each is a table with bars in its cells, so that
whoever cannot see bars, or prints them, has the figures.

Figures of proofs come from the signed verdicts in the log. Accuracies are not shown, because the ledger knows none:
a client measures on its own data, and what it finds is its own business (docs/decisions/0048-refusing-damage.md).
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Final

from django.contrib import admin
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.translation import gettext as _

from ledger import log
from ledger.access import scope
from ledger.admin import home
from ledger.models import DeletionRequest, VerdictRecord, Window
from ledger.statements import coverage, lifecycle
from ledger.statements.predicates.verdict import Verdict

_WINDOWS: Final = 20
MOST: Final = 50  # clients in one chart
_CLIENT: Final = "proof__claim__order__client_model__client"


def page(request: HttpRequest) -> HttpResponse:
    """What the account may see of them."""
    user = request.user
    shown: dict[str, Any] = {"title": _("Figures")}
    if user.has_perm("ledger.view_deletionrequest"):
        shown["due"] = _due(scope.visible(user, DeletionRequest.objects.all()))
    if user.has_perm("ledger.view_window"):
        shown["windows"] = _windows(scope.visible(user, Window.objects.all()))
    if user.has_perm("ledger.view_verdictrecord"):
        rows = scope.visible(user, VerdictRecord.objects.all())
        shown["checked"] = checked(rows.order_by(f"{_CLIENT}__name", "-entry").distinct(f"{_CLIENT}__name"))
    return TemplateResponse(request, "admin/ledger/figures.html", admin.site.each_context(request) | shown)


def _due(rows: QuerySet[DeletionRequest]) -> dict[str, Any]:
    """Requests that are not over, by when they are due."""
    live = rows.filter(state__in=lifecycle.LIVE)
    bars = home.due_bars(live.aggregate(**home.due_counts(timezone.now())))
    return {"bars": bars, "total": sum(bar["count"] for bar in bars)}


def _windows(rows: QuerySet[Window]) -> list[Window]:
    """The newest windows with orders, and how far these are."""
    counts = {f"in_{state}": Count("orders", filter=Q(orders__state=state)) for state, _label in home.STEPS}
    with_orders = (
        rows.filter(mask_entry__isnull=False).select_related("model").annotate(all=Count("orders"), **counts)
    )
    shown: list[Window] = list(with_orders.order_by("-created_at")[:_WINDOWS])
    for window in shown:
        window.bar = home.bar({state: getattr(window, f"in_{state}") for state, _label in home.STEPS})  # type: ignore[attr-defined]
    return shown


def of_window(window: Window) -> dict[str, Any]:
    """What was checked of each client of a window: by the newest verdict about each."""
    rows = VerdictRecord.objects.filter(proof__claim__order__window=window)
    return checked(rows.order_by(f"{_CLIENT}__name", "-entry").distinct(f"{_CLIENT}__name"))


def checked(rows: QuerySet[VerdictRecord]) -> dict[str, Any]:
    """A chart's rows: of how many touched chunks how many were checked, and how sure that is."""
    found = list(rows.select_related("entry", _CLIENT)[: MOST + 1])
    return {"rows": [_coverage(row) for row in found[:MOST]], "more": len(found) > MOST, "most": MOST}


def _coverage(row: VerdictRecord) -> dict[str, Any]:
    said = log.statement(row.entry).predicate
    assert isinstance(said, Verdict)
    touched = said.proved_chunks if said.touched_chunks is None else said.touched_chunks
    return {
        "verdict": row,
        "client": row.proof.claim.order.client_model.client,
        "accepted": said.result == "accepted",
        "sampled": said.coverage != coverage.FULL,
        "checked": said.proved_chunks,
        "touched": touched,
        "share": round(100 * said.proved_chunks / touched) if touched else 100,
        "detection": f"{float(100 * Fraction(said.detection)):.4g}",
    }
