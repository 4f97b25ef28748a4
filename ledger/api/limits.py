"""Sizes are refused by what a request announces, before its body is read."""

from __future__ import annotations

from rest_framework.request import Request

from ledger.workflow.errors import WorkflowError


def refuse_larger(request: Request, limit: int, what: str) -> None:
    """413 if the body has more than `limit` bytes. Without a Content-Length there is no body (WSGI)."""
    announced = request.headers.get("Content-Length", "")
    if announced.isascii() and announced.isdigit() and int(announced[:20]) > limit:
        raise WorkflowError("too-large", f"{what} has at most {limit} bytes, got {announced[:20]}", 413)
