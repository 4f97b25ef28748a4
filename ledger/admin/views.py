"""Saved views: a list's filters, search and order under a name of the officer's own, and one that opens first.

A view is an address: whoever opens it sees what the account may see of the list now, nothing more. Views are the
account's alone; nobody else can list, change or open them.
"""

from __future__ import annotations

from typing import Any, Final

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from ledger.models import SavedView

MOST: Final = 30  # views of one list
_WHOLE: Final = "view"  # in an address: no view, not even the default one
_PASSING: Final = ("p", "e", _WHOLE)  # page numbers and the like are no part of a view


def open_first(request: HttpRequest, page: str) -> HttpResponse | None:
    """The way to the default view, where a list is opened without saying what of it; else None."""
    asked = request.GET
    request.GET = asked.copy()  # type: ignore[assignment]  # Django's list takes no names that it does not know
    request.GET.pop(_WHOLE, None)  # type: ignore[misc]
    if asked or request.method != "GET":
        return None
    view = SavedView.objects.filter(user=request.user.pk, page=page, default=True).exclude(query="").first()
    return None if view is None else HttpResponseRedirect(f"{request.path}?{view.query}")


def context(request: HttpRequest, page: str) -> dict[str, Any]:
    """What the part above a list shows. One query."""
    now = _tidy(request.GET)
    rows: list[Any] = list(SavedView.objects.filter(user=request.user.pk, page=page))
    for row in rows:
        row.address = f"?{row.query}" if row.query else f"?{_WHOLE}=all"
        row.current = row.query == now
    return {"views": rows, "query": now, "whole": f"?{_WHOLE}=all", "change": reverse("console:views", args=[page])}


@require_POST
def change(request: HttpRequest, page: str) -> HttpResponse:
    """Save, delete, or open first, as the form says; then back to the list."""
    shown = [one for table, one in admin.site._registry.items() if table._meta.model_name == page]  # noqa: SLF001
    if not shown:
        raise Http404
    if not shown[0].has_view_permission(request):
        raise PermissionDenied
    said = request.POST
    query = _tidy(QueryDict(said.get("query", "")[:4000]))
    deeds = {"save": _save, "delete": _delete, "default": _open_first}
    words = deeds.get(said.get("do", ""), _nothing)(request, page, query)
    (messages.success if words[0] else messages.error)(request, words[1])
    there = reverse(f"admin:{shown[0].opts.app_label}_{page}_changelist")
    return HttpResponseRedirect(f"{there}?{query or f'{_WHOLE}=all'}")


def _tidy(asked: QueryDict) -> str:
    """An address's part about the list, the same for the same list."""
    pairs = sorted((name, value) for name, values in asked.lists() for value in values if name not in _PASSING)
    tidy = QueryDict(mutable=True)
    for name, value in pairs:
        if value:
            tidy.appendlist(name, value)
    return tidy.urlencode()


@transaction.atomic
def _save(request: HttpRequest, page: str, query: str) -> tuple[bool, str]:
    name = " ".join(request.POST.get("name", "").split())
    mine = SavedView.objects.filter(user=request.user.pk, page=page)
    if not 1 <= len(name) <= 60:
        return False, _("a view's name has 1 to 60 characters, got %(n)d") % {"n": len(name)}
    if len(query) > 2000:
        return False, _("this list's address is too long to be kept: use fewer filters")
    if mine.exclude(name=name).count() >= MOST:
        return False, _("a list has at most %(n)d views: delete one first") % {"n": MOST}
    default = bool(request.POST.get("first"))
    if default:
        mine.update(default=False)
    SavedView.objects.update_or_create(
        user_id=request.user.pk or 0, page=page, name=name, defaults={"query": query, "default": default}
    )
    return True, _("The view “%(name)s” is saved.") % {"name": name}


def _delete(request: HttpRequest, page: str, _query: str) -> tuple[bool, str]:
    gone, _each = _mine(request, page).delete()
    return bool(gone), _("The view is deleted.") if gone else _("there is no such view any more")


@transaction.atomic
def _open_first(request: HttpRequest, page: str, _query: str) -> tuple[bool, str]:
    """Make a view the one that opens first; the one that is, no longer."""
    row = _mine(request, page).first()
    if row is None:
        return False, _("there is no such view any more")
    SavedView.objects.filter(user=request.user.pk, page=page).update(default=False)
    row.default = not row.default
    row.save(update_fields=["default"])
    said = _("“%(name)s” opens first now.") if row.default else _("“%(name)s” no longer opens first.")
    return True, said % {"name": row.name}


def _nothing(_request: HttpRequest, _page: str, _query: str) -> tuple[bool, str]:
    return False, _("nothing was asked for")


def _mine(request: HttpRequest, page: str) -> Any:
    name = request.POST.get("view", "")
    return SavedView.objects.filter(user=request.user.pk, page=page, pk=int(name) if name.isdecimal() else 0)
