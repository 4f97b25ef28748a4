"""Conditional requests (RFC 9110 section 13): unchanged answers are not sent again, stale ones not acted on.

The entity tag of a resource is the SHA-256 of its JSON. GET answers carry it, If-None-Match turns them into 304.
A POST that changes the resource may carry it as If-Match: if the resource is another by now, the answer is 412 and
nothing is done.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import transaction
from django.http import HttpResponse, HttpResponseNotModified
from django.utils.http import parse_etags
from rest_framework.request import Request
from rest_framework.utils.encoders import JSONEncoder

from ledger import log
from ledger.workflow.errors import WorkflowError


def of(data: object) -> str:
    """The strong entity tag of a JSON document."""
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), cls=JSONEncoder)
    return f'"{hashlib.sha256(text.encode()).hexdigest()}"'


def not_modified(request: Request, tag: str) -> HttpResponse | None:
    """304 if the asker has this version already."""
    known = [each.removeprefix("W/") for each in parse_etags(request.headers.get("If-None-Match", ""))]
    if "*" in known or tag in known:
        return HttpResponseNotModified(headers={"ETag": tag})
    return None


@contextmanager
def unchanged(request: Request, current: Callable[[], Any]) -> Iterator[None]:
    """Do something to the resource that `current` renders, only if If-Match names its present version.

    Without the header nothing is checked. Between check and act the log's lock keeps others out.
    """
    wanted = parse_etags(request.headers.get("If-Match", ""))
    if not wanted or wanted == ["*"]:
        yield
        return
    with transaction.atomic():
        log.lock()
        tag = of(current())
        if tag not in wanted:
            raise WorkflowError(
                "stale", f"the resource is now {tag}, the request was made for {wanted[0][:80]}: read it again", 412
            )
        yield
