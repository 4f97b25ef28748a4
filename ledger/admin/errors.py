"""What the console says where it shows no page: what is the matter, and what to do about it.

Who is logged in sees it in the console's frame. A stranger, and anybody where the server itself failed, sees a page
that asks the database nothing.
"""

from __future__ import annotations

import sys
from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _

from ledger import logs
from ledger.passing import what_is_away

_FRAMED = "admin/ledger/error.html"
_ALONE = "admin/ledger/error_alone.html"
_PATIENCE = 10  # seconds until a browser tries again that found database or storage away


def bad_request(_request: HttpRequest, _error: Exception) -> HttpResponse:
    """400: what Django itself refuses to read."""
    return _alone(
        400, _("This request cannot be read"),
        _("The address is damaged, the host name is none of this server's, or more was sent than it takes."),
        _("Go back and try it with fewer rows, or with the address that your operator gave you."),
    )  # fmt: skip


def forbidden(request: HttpRequest, _error: Exception) -> HttpResponse:
    """403: the roles of an account do not reach so far."""
    user: Any = request.user
    roles = ", ".join(user.groups.values_list("name", flat=True)) or _("none")
    return _framed(
        request, 403, _("Your account may not do this"),
        _("What an account may do follows from its roles and the models it is limited to. Your roles: %(roles)s.")
        % {"roles": roles},
        _("Nothing was changed. If you need it for your work, ask an administrator for the role."),
    )  # fmt: skip


def not_found(request: HttpRequest, _error: Exception) -> HttpResponse:
    """404."""
    return _framed(
        request, 404, _("There is no such page"),
        _("The address is damaged, or names a row that does not exist or is no business of your account."),
        _("Look for it in the lists: they find rows by the beginning of a UUID."),
    )  # fmt: skip


def foreign_form(_request: HttpRequest) -> HttpResponse:
    """403: a form without the mark that this session's pages carry."""
    return _alone(
        403, _("This form is not valid any more"),
        _("It was opened before you last logged in, cookies are switched off, or another site has sent it."),
        _("Nothing was done. Open the page anew and fill in the form again."),
    )  # fmt: skip


def server_error(_request: HttpRequest) -> HttpResponse:
    """500, or 503 where database or storage do not answer: nothing here asks them anything."""
    error = sys.exc_info()[1]
    if error is not None and what_is_away(error) is not None:
        answer = _alone(
            503, _("The ledger's database or storage does not answer"),
            _("It may be starting anew, or be full."),
            _("Try again in a minute, after a look whether it was done. Tell your operator if it stays so."),
        )  # fmt: skip
        answer.headers["Retry-After"] = str(_PATIENCE)
        return answer
    number = logs.current("request") or "–"
    return _alone(
        500, _("The server has failed at this"),
        _("The reason stands in the server's log, under the number %(number)s.") % {"number": number},
        _("Look whether what you wanted was done. If not, try once more; then tell your operator the number."),
    )  # fmt: skip


def _framed(request: HttpRequest, status: int, title: str, *words: str) -> HttpResponse:
    """In the console's frame, for whoever may see that."""
    user = getattr(request, "user", None)
    if user is None or not admin.site.has_permission(request):
        return _alone(status, title, *words)
    shown = admin.site.each_context(request) | {"title": title, "words": words}
    return render(request, _FRAMED, shown, status=status)


def _alone(status: int, title: str, *words: str) -> HttpResponse:
    return render(None, _ALONE, {"title": title, "words": words}, status=status)
