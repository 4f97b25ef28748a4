"""Answers where no view answers: problem details for programs, pages that explain for people in the console."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.views import csrf

from ledger.access.session import CONSOLE
from ledger.admin import errors
from ledger.api import problems


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """handler400."""
    return (errors if _console(request) else problems).bad_request(request, exception)


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    """handler403."""
    return (errors if _console(request) else problems).forbidden(request, exception)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """handler404."""
    return (errors if _console(request) else problems).not_found(request, exception)


def server_error(request: HttpRequest) -> HttpResponse:
    """handler500: Django has logged why."""
    return (errors if _console(request) else problems).server_error(request)


def foreign_form(request: HttpRequest, reason: str = "") -> HttpResponse:
    """CSRF_FAILURE_VIEW; Django has logged the reason, which means nothing to whoever filled in the form."""
    return errors.foreign_form(request) if _console(request) else csrf.csrf_failure(request, reason)


def _console(request: HttpRequest) -> bool:
    return request.path.startswith(CONSOLE)
