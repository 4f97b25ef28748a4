"""Idempotency-Key (draft-ietf-httpapi-idempotency-key-header): a POST that is sent twice is done once.

The answer is stored in the transaction that does the work, so there is no moment in which one exists without the
other. Keys belong to their caller: another caller's equal key is another key. A refusal has no effect and is not
stored: the same request may succeed later.

An answer may hold a secret that is shown once (an enrolment token). It is encrypted under a key derived from the
Idempotency-Key, of which the table holds only a hash: who steals the database cannot read it.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from typing import Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.db import connection, transaction
from django.http import HttpResponse
from django.utils import timezone
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from ledger.models import KeptAnswer
from ledger.models.http import KEPT
from ledger.workflow.errors import WorkflowError

_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}", re.ASCII)
_NONCE_BYTES: Final = 12


def once(caller: str, request: Request, act: Callable[[], HttpResponse]) -> HttpResponse:
    """`act`, or the answer it gave when this caller first sent this key.

    Raises WorkflowError: 400 for a malformed key, 409 while the first request is at work, 422 if the key was used
    for something else.
    """
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return act()
    if not _KEY.fullmatch(key):
        raise WorkflowError(
            "bad-idempotency-key", f"an Idempotency-Key has 1 to 255 visible characters, got {key[:80]!r}", 400
        )
    name = name_of(caller, key)
    print_ = _fingerprint(request)
    with transaction.atomic():
        hold(name)
        kept = KeptAnswer.objects.filter(key_sha256=name, created_at__gt=timezone.now() - KEPT).first()
        if kept is not None:
            return _again(kept, print_, _cipher(caller, key))
        response = act()
        if response.status_code < 300:
            _keep(name, caller, print_, response, _cipher(caller, key))
        return response


def name_of(caller: str, key: str) -> str:
    """What the table calls the key of this caller."""
    return hashlib.sha256(f"{caller}\n{key}".encode()).hexdigest()


def hold(name: str) -> None:
    """Hold the key until the transaction ends; 409 if another request holds it."""
    number = int.from_bytes(bytes.fromhex(name[:16]), "big", signed=True)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [number])
        (free,) = cursor.fetchone()
    if not free:
        raise WorkflowError(
            "in-flight", "a request with this Idempotency-Key is at work: ask again in a moment", 409
        )


def _again(kept: KeptAnswer, fingerprint: str, cipher: AESGCM) -> HttpResponse:
    if kept.fingerprint != fingerprint:
        raise WorkflowError(
            "idempotency-key-reused", "this Idempotency-Key was sent with another request: use a new one", 422
        )
    sealed = bytes(kept.answer)
    body = cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], None)
    return HttpResponse(
        body, status=kept.status, content_type="application/json", headers={"Idempotent-Replayed": "true"}
    )


def _keep(name: str, caller: str, fingerprint: str, response: HttpResponse, cipher: AESGCM) -> None:
    body = JSONRenderer().render(response.data) if isinstance(response, Response) else response.content
    nonce = os.urandom(_NONCE_BYTES)
    KeptAnswer.objects.update_or_create(
        key_sha256=name,
        defaults={
            "caller": caller,
            "fingerprint": fingerprint,
            "status": response.status_code,
            "answer": nonce + cipher.encrypt(nonce, body, None),
            "created_at": timezone.now(),
        },
    )


def _fingerprint(request: Request) -> str:
    body = request._request.body  # noqa: SLF001 - the very bytes that were sent
    head = f"{request.method}\n{request.get_full_path()}\n{request.content_type}\n"
    return hashlib.sha256(head.encode() + body).hexdigest()


def _cipher(caller: str, key: str) -> AESGCM:
    secret = HKDF(SHA256(), 32, None, b"kept answer " + caller.encode()).derive(
        str(settings.SECRET_KEY).encode() + b"\n" + key.encode()
    )
    return AESGCM(secret)
