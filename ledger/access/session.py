"""What a session is good for: who has proved what, when; and for how long.

1. A password opens a session (Django gives it a new name then). Its time starts.
2. Where the account needs a second factor, the session opens only the pages that ask for one until it was shown.
3. A session ends when it was idle, and at a fixed age, however busy.
4. What cannot be taken back (closing a window, seeing who asked, changing factors) needs a proof not older than
   `PROOF_SECONDS`: the second factor, or the password where there is none.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlencode

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import logout, user_logged_in
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _

from ledger import logs
from ledger.access import attempts, factors
from ledger.models import SecondFactor

PROOF_SECONDS: Final = 15 * 60
_NOTED_EVERY: Final = 30  # seconds: a session is not written at every request
_LOGGED_IN: Final = "ledger.logged-in"
_STARTED, _SEEN, _PROVED, _FACTOR = "access.started", "access.seen", "access.proved", "access.factor"
CONSOLE: Final = "/admin/"
LOG_FILES: Final = ("/tile/", "/checkpoint")
#: A header of requests that a page makes by itself: they do not keep a session alive.
BACKGROUND: Final = "X-Background"


@receiver(user_logged_in)
def begin(request: HttpRequest, user: Any, **_: object) -> None:
    """The password was right: the session's time starts."""
    now = time.time()
    request.session[_STARTED] = request.session[_SEEN] = request.session[_PROVED] = now
    request.session.pop(_FACTOR, None)
    request.META[_LOGGED_IN] = True
    logs.AUDIT.info("login", extra={"event": "login", "who": f"officer {user.pk}"})


def note_factor(request: HttpRequest) -> None:
    """The second factor was shown: the session gets a new name, so that an older one is worth nothing."""
    request.session.cycle_key()
    request.session[_FACTOR] = request.session[_PROVED] = time.time()


def note_password(request: HttpRequest) -> None:
    """The password was typed once more."""
    request.session.cycle_key()
    request.session[_PROVED] = time.time()


def has_factor(request: HttpRequest) -> bool:
    """Whether the session has shown a second factor."""
    return _FACTOR in request.session


def is_complete(request: HttpRequest) -> bool:
    """Whether the session opens what its account may do."""
    return has_factor(request) or not factors.needed(request.user)


def is_fresh(request: HttpRequest) -> bool:
    """Whether it was proved lately who sits there."""
    return is_complete(request) and time.time() - request.session.get(_PROVED, 0) < PROOF_SECONDS


def prove(request: HttpRequest, back: str) -> HttpResponse | None:
    """None if the session is fresh; else the way to the page that asks who sits there."""
    if is_fresh(request):
        return None
    messages.warning(request, _("This cannot be taken back: show once more that it is you, then do it again."))
    return HttpResponseRedirect(f"{reverse('second-factor')}?{urlencode({'next': back})}")


def to_change_factors(request: HttpRequest, back: str) -> HttpResponse | None:
    """None if this session may change its account's factors; else the way to where it shows that it may.

    An account without a factor needs its password, lately; one with factors needs one of them.
    """
    enrolled = SecondFactor.objects.filter(user=request.user.pk).exists()
    lately = time.time() - request.session.get(_PROVED, 0) < PROOF_SECONDS
    if lately and (has_factor(request) or not enrolled):
        return None
    return HttpResponseRedirect(f"{reverse('second-factor')}?{urlencode({'next': back})}")


def after(request: HttpRequest) -> str:
    """Where to go when it was proved: the page named by `next`, if it is one of ours."""
    wanted = request.POST.get("next") or request.GET.get("next") or ""
    ours = url_has_allowed_host_and_scheme(wanted, {request.get_host()}, require_https=request.is_secure())
    return wanted if ours else CONSOLE


def gate(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Middleware: ends old sessions, and leads incomplete ones to the pages for second factors.

    The log is everybody's. Its files are not asked about sessions at all: an answer that may depend on a cookie is
    one that no cache between here and the reader can keep.
    """

    def respond(request: HttpRequest) -> HttpResponse:
        if request.path.startswith(LOG_FILES):
            return get_response(request)
        if request.user.is_authenticated:
            if _is_over(request):
                logout(request)
                if request.path.startswith(CONSOLE):
                    messages.info(request, _("The session has ended: log in again."))
            elif request.path.startswith(CONSOLE) and not _is_open(request.path) and not is_complete(request):
                return HttpResponseRedirect(_way(request))
        response = get_response(request)
        if _LOGGED_IN in request.META and request.user.is_authenticated:
            attempts.remember(response, request.user.get_username())
        return response

    return respond


def _is_over(request: HttpRequest) -> bool:
    now, session = time.time(), request.session
    started, seen = session.get(_STARTED, 0), session.get(_SEEN, 0)
    if now - started > settings.SESSION_COOKIE_AGE or now - seen > settings.LEDGER_SESSION_IDLE_MINUTES * 60:
        return True
    if BACKGROUND not in request.headers and now - seen > _NOTED_EVERY:
        session[_SEEN] = now
    return False


def _is_open(path: str) -> bool:
    return path.startswith(f"{CONSOLE}second-factor/") or path in (
        f"{CONSOLE}logout/",
        f"{CONSOLE}jsi18n/",
        f"{CONSOLE}language/",
    )


def _way(request: HttpRequest) -> str:
    enrolled = SecondFactor.objects.filter(user=request.user.pk).exists()
    page = reverse("second-factor" if enrolled else "second-factor-setup")
    return f"{page}?{urlencode({'next': request.get_full_path()})}" if enrolled else page


def asks_for(user: Any) -> str:
    """What proves who sits there: "factor", or "password" where the account has no second factor."""
    return "factor" if SecondFactor.objects.filter(user=user).exists() else "password"
