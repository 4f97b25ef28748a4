"""Requests as programs make them, for the tests of the interface."""

from __future__ import annotations

import json
import uuid
from typing import Any

from django.contrib.auth.models import Permission, User
from django.test import Client as Browser

from ledger.statements import httpsig
from tests.ledger.story import Party

API = "/api/v1"
HOST = "http://testserver"


def officer(name: str = "officer", *permissions: str, superuser: bool = False) -> Browser:
    """A browser of somebody on the staff, with the permissions named."""
    user, _ = User.objects.get_or_create(username=name, is_staff=True, is_superuser=superuser)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    browser = Browser()
    browser.force_login(user)
    return browser


def by_client(method: str, path: str, party: Party, body: bytes | Any = b"", **more: str) -> Any:
    """A signed request; headers in `more` are signed too."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    kind = "application/octet-stream" if isinstance(body, bytes) else "application/json"
    headers = {name.replace("_", "-"): value for name, value in more.items()}
    signed = httpsig.sign_request(method, HOST + API + path, raw, party.key, headers=headers)
    return Browser().generic(method, API + path, raw, content_type=kind, headers=signed)


def by_officer(method: str, path: str, browser: Browser, body: Any = None, **more: str) -> Any:
    """A JSON request in a session."""
    headers = {name.replace("_", "-"): value for name, value in more.items()}
    return browser.generic(
        method,
        API + path,
        json.dumps({} if body is None else body),
        content_type="application/json",
        headers=headers,
    )


def fresh() -> str:
    """An Idempotency-Key."""
    return str(uuid.uuid4())
