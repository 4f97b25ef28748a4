"""What can be done with a row, on its page; and for what cannot, a sentence why not.

These sentences are for reading: the workflow decides, and refuses in its own words what slips through.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from django.http import HttpRequest
from django.urls import reverse
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _

from ledger.models import Client, DeletionRequest, Export, Job, Order, Window
from ledger.statements import lifecycle
from ledger.workflow.orders import OURS
from ledger.workflow.silence import SILENT
from ledger.workflow.terms import policy_of

#: From a row to the reason against it; an empty one where nothing speaks against it.
Rule = Callable[[Any], Any]

ROLE: Final = _("your role does not include this")
_OVER: Final = _("the request is over")
#: In which table stands what a report of a scope is about.
REPORTED: Final = {"request": "deletionrequest", "window": "window", "client": "client"}


def _acknowledge(row: DeletionRequest) -> Any:
    return _("the receipt was confirmed before") if row.acknowledged_entry_id is not None else _live(row)


def _live(row: DeletionRequest) -> Any:
    return "" if row.state in lifecycle.LIVE else _OVER


def _open(row: DeletionRequest) -> Any:
    return "" if row.state == lifecycle.OPEN else _("the request was decided before")


def _approve(row: DeletionRequest) -> Any:
    if row.held:
        return _("it is under a legal hold: lift that first")
    if policy_of(row).identity_required and not row.verified:
        return _("nobody was identified yet: record an identity check first")
    return _open(row)


def _extend(row: DeletionRequest) -> Any:
    return _("it was extended before, and that is done once") if row.extension_entry_id is not None else _live(row)


def _hold(row: DeletionRequest) -> Any:
    if row.erased_entry_id is not None:
        return _("who asked is erased: nothing is left to hold")
    return _("it is under a legal hold already") if row.held else ""


def _lift(row: DeletionRequest) -> Any:
    return "" if row.held else _("it is under no legal hold")


def _revoke(row: DeletionRequest) -> Any:
    if row.state in lifecycle.LIVE and row.windows.exclude(state=Window.State.OPEN).exists():
        return _("its window has closed: clients are being told to unlearn, and that cannot be called back")
    return _live(row)


def _open_window(row: DeletionRequest) -> Any:
    return "" if row.state == lifecycle.IN_PROGRESS else _("only approved requests go into a window")


def _erase(row: DeletionRequest) -> Any:
    if row.erased_entry_id is not None:
        return _("who asked is erased already")
    if row.state not in lifecycle.OVER:
        return _("who asked is needed until the request is over")
    return _("it is under a legal hold: its record stays until that ends") if row.held else ""


def _while_open(row: Window) -> Any:
    return "" if row.state == Window.State.OPEN else _("the window has closed: what it holds is logged")


def _certify(row: Window) -> Any:
    if row.state == Window.State.CERTIFIED:
        return _("its certificates were issued before")
    if row.mask_entry_id is None:
        return _("there is no mask yet")
    if row.orders.filter(state__in=OURS).exists():
        return _("answers of clients are still being checked")
    return ""


def _remind(row: Order) -> Any:
    if row.window.state == Window.State.CERTIFIED:
        return _("its window is certified")
    return "" if row.state in SILENT else _("nothing is awaited from the client")


def _release(row: Order) -> Any:
    if row.state == Order.State.MET:
        return _("the order is met: there is nothing to except")
    if row.state == Order.State.EXCEPTED:
        return _("it was excepted before")
    if row.window.state == Window.State.CERTIFIED:
        return _("its window is certified: what it says stays")
    return _("the client's answer is being checked: wait for the verdict") if row.state in OURS else ""


def _suspended(row: Order) -> bool:
    return row.client_model.client.suspensions.filter(lifted_entry=None).exists()


def _suspend(row: Order) -> Any:
    return _("the client is suspended already") if _suspended(row) else ""


def _reinstate(row: Order) -> Any:
    return "" if _suspended(row) else _("the client is not suspended")


def _not_retired(row: Client) -> Any:
    return _("the client was retired") if row.retired_entry_id is not None else ""


def _retry(row: Job) -> Any:
    return "" if row.state == Job.State.FAILED else _("only failed jobs are started anew")


def _fetch(row: Export) -> Any:
    if row.entry_id is None:
        return _("the report is not made yet")
    return "" if row.file is not None and row.file.erased_at is None else _("the file was destroyed")


_RULES: Final[Mapping[str, Mapping[str, Rule]]] = {
    "deletionrequest": {
        "acknowledge": _acknowledge, "identify": _open, "approve": _approve, "deny": _open, "extend": _extend,
        "hold": _hold, "lift": _lift, "revoke": _revoke, "open_window": _open_window, "erase": _erase,
    },
    "window": {"put": _while_open, "take": _while_open, "discard": _while_open, "close": _while_open,
               "certify": _certify},
    "order": {"remind": _remind, "release": _release, "suspend": _suspend, "reinstate": _reinstate},
    "client": {"reissue": _not_retired, "reenrol": _not_retired, "retire": _not_retired},
    "job": {"retry": _retry},
    "export": {"fetch": _fetch},
}  # fmt: skip


def of(page: Any, request: HttpRequest, row: Any) -> list[dict[str, Any]]:
    """The actions of a page on one row: name, words, and why not (empty: it can be done)."""
    allowed = page.get_actions(request)
    rules = _RULES.get(page.opts.model_name, {})
    found = []
    for name in page.actions or ():
        words = getattr(getattr(page, name), "short_description", name)
        why_not = ROLE if name not in allowed else rules.get(name, lambda _row: "")(row)
        found.append({"name": name, "words": str(words), "why_not": capfirst(str(why_not))})
    return found


def report_address(page: Any, request: HttpRequest, row: Any) -> str:
    """Where the account asks for a report about a row; empty where there are none, or the role has none."""
    scopes = [scope for scope, table in REPORTED.items() if table == page.opts.model_name]
    if not scopes or not request.user.has_perm("ledger.add_export"):
        return ""
    return f"{reverse('admin:ledger_export_add')}?scope={scopes[0]}&about={row.pk}"
