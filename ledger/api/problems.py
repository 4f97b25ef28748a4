"""RFC 9457 problem details for every error: {"type", "title", "status", "detail", ...}.

`type` is a URN with a stable code for programs; `detail` is one sentence for people that says what to do.
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

from django.core.exceptions import BadRequest, PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views import defaults
from rest_framework import exceptions
from rest_framework.views import set_rollback

from ledger.passing import what_is_away
from ledger.workflow.errors import WorkflowError

logger = logging.getLogger(__name__)

_PATIENCE = 10  # seconds until a request is tried again that found database or storage away

CONTENT_TYPE = "application/problem+json"
TYPE_BASE = "urn:unlearning-ledger:problem"


def problem(status: int, code: str, detail: str, headers: dict[str, str] | None = None) -> JsonResponse:
    """An error response."""
    body = {
        "type": f"{TYPE_BASE}:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    return JsonResponse(body, status=status, content_type=CONTENT_TYPE, headers=headers or {})


def handle(error: Exception, context: dict[str, Any]) -> HttpResponse | None:
    """DRF's exception handler. None lets an unexpected error reach Django, which logs it and calls
    `server_error`.
    """
    set_rollback()
    if isinstance(error, WorkflowError):
        return problem(error.status, error.code, error.sentence)
    if isinstance(error, Http404):
        return _missing(context["request"].path)
    if isinstance(error, PermissionDenied):
        error = exceptions.PermissionDenied()
    away = what_is_away(error)
    if away is not None:
        return _away(away, error)
    if not isinstance(error, exceptions.APIException):
        return None
    headers = {}
    if getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = error.auth_header  # type: ignore[attr-defined]
    if getattr(error, "wait", None):
        headers["Retry-After"] = str(int(error.wait) + 1)  # type: ignore[attr-defined]
    return problem(error.status_code, *_words(error, context["request"]), headers)


def _away(what: str, error: Exception) -> HttpResponse:
    """Database or shelf do not take it. Operators are told by the log; clients only that they shall come again."""
    logger.error("ALARM: the %s failed: %s: %s", what, type(error).__name__, error)
    sentence = f"the ledger's {what} does not answer or is full; nothing was changed: send the same again"
    return problem(503, f"{what}-unavailable", sentence, {"Retry-After": str(_PATIENCE)})


def _words(error: exceptions.APIException, request: Any) -> tuple[str, str]:
    """Code and sentence of an error of DRF's own."""
    sentences: dict[type[exceptions.APIException], tuple[str, str]] = {
        exceptions.NotAuthenticated: (
            "not-authenticated",
            (
                "this address needs credentials: clients sign it with their enrolled key (RFC 9421), "
                "officers log in with name and password"
            ),
        ),
        exceptions.PermissionDenied: (
            "permission-denied",
            "these credentials may not do this: use an account with the permission named in /api/v1/openapi.json",
        ),
        exceptions.MethodNotAllowed: (
            "method-not-allowed",
            f"{request.path} does not take {request.method}: see the Allow header",
        ),
        exceptions.UnsupportedMediaType: (
            "unsupported-media-type",
            f"got a body of type {request.content_type!r}, expected application/json",
        ),
        exceptions.NotAcceptable: (
            "not-acceptable",
            "this address answers in one format only: leave the Accept header out",
        ),
        exceptions.Throttled: (
            "too-many-requests",
            "too many requests from this address: wait as long as Retry-After says",
        ),
    }
    return sentences.get(type(error), (error.default_code.replace("_", "-"), str(error.detail)))


def _missing(path: str) -> JsonResponse:
    return problem(404, "not-found", f"there is nothing at {path}: check the address and its identifier")


def _is_api(request: HttpRequest) -> bool:
    return request.path.startswith("/api/")


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """handler400: what Django itself refuses, as an unknown host name, and what our middleware does."""
    if not _is_api(request):
        return defaults.bad_request(request, exception)
    if isinstance(exception, BadRequest):
        return problem(400, "bad-request", str(exception))
    return problem(400, "bad-request", "this request cannot be read: check its Host header, size and encoding")


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    """handler403."""
    if not _is_api(request):
        return defaults.permission_denied(request, exception)
    return problem(403, "permission-denied", "these credentials may not do this")


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """handler404."""
    return _missing(request.path) if _is_api(request) else defaults.page_not_found(request, exception)


def server_error(request: HttpRequest) -> HttpResponse:
    """handler500: logged by Django; nothing about it is told to the caller."""
    if not _is_api(request):
        return defaults.server_error(request)
    return problem(
        500,
        "server-error",
        "the ledger failed to answer; nothing was changed: try again, or tell its operator",
    )
