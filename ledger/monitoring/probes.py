"""Addresses for those who watch the processes: /health, /ready and /metrics. None of them changes anything."""

from __future__ import annotations

import hmac
import logging

from django.conf import settings
from django.db import Error, connection
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from ledger import keys
from ledger.monitoring import metrics

logger = logging.getLogger(__name__)


@never_cache
@require_safe
def health(_request: HttpRequest) -> HttpResponse:
    """200 while this process answers at all; if not, start it anew. Asks nobody else."""
    return JsonResponse({"status": "alive"})


@never_cache
@require_safe
def ready(_request: HttpRequest) -> HttpResponse:
    """200 when requests can be served; 503 with what is missing: then ask another process meanwhile."""
    missing = [name for name, there in (("database", _database()), ("keys", _keys())) if not there]
    said = {"status": "not ready", "missing": missing} if missing else {"status": "ready"}
    return JsonResponse(said, status=503 if missing else 200)


@never_cache
@require_safe
def figures(request: HttpRequest) -> HttpResponse:
    """The metrics, for who has LEDGER_METRICS_TOKEN. Where none is set there is no such address."""
    wanted = settings.LEDGER_METRICS_TOKEN
    if not wanted:
        raise Http404
    kind, _, given = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), wanted.encode()):
        return HttpResponse(
            "send Authorization: Bearer with LEDGER_METRICS_TOKEN\n", status=401, content_type="text/plain",
            headers={"WWW-Authenticate": 'Bearer realm="unlearning-ledger metrics"'},
        )  # fmt: skip
    return HttpResponse(metrics.text(), content_type="text/plain; version=0.0.4; charset=utf-8")


def _database() -> bool:
    """Whether the database answers, with our tables in it."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM ledger_logentry LIMIT 1")
    except Error as error:
        logger.warning("not ready: %s", error)
        return False
    return True


def _keys() -> bool:
    return all(keys.path(role).exists() for role in (keys.LOG, keys.PROVIDER))
