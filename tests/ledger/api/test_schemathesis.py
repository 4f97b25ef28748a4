"""Schemathesis makes requests from the OpenAPI document, good ones and bad ones, as anonymous, client and officer.

Whatever is asked: no failure of ours (5xx), only declared statuses and media types, bodies as their schemas say.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import requests
import schemathesis
from django.test import Client as Browser
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from rest_framework.settings import api_settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.core.transport import Response
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from ledger import models
from ledger.api import openapi
from ledger.statements import httpsig
from ledger.workflow import proofs, windows
from ledger.workflow.webhooks import add_endpoint
from tests.ledger.api.parts import HOST, fresh, officer
from tests.ledger.story import Party, Story, verdict

CHECKS = [
    not_a_server_error, status_code_conformance, content_type_conformance, response_headers_conformance,
    response_schema_conformance,
]  # fmt: skip
SCHEMA = schemathesis.openapi.from_dict(openapi.document())
Send = Callable[[requests.PreparedRequest], Any]


def bytes_of(request: requests.PreparedRequest) -> bytes:
    body = request.body or b""
    return body.encode() if isinstance(body, str) else body


def sent(browser: Browser, request: requests.PreparedRequest, headers: dict[str, str]) -> Any:
    parts = urlsplit(str(request.url))
    kind = str(request.headers.get("Content-Type", "application/octet-stream"))
    kept = {
        name: str(value)
        for name, value in request.headers.items()
        if name.lower() not in ("content-type", "cookie")
    }
    browser.raise_request_exception = False
    return browser.generic(
        str(request.method),
        unquote(parts.path),
        bytes_of(request),
        content_type=kind,
        query_string=parts.query,
        headers=kept | headers,
    )


def as_officer(browser: Browser) -> Send:
    return lambda request: sent(browser, request, {})


def as_client(party: Party) -> Send:
    def send(request: requests.PreparedRequest) -> Any:
        headers = {}
        if request.method == "POST":
            headers["Idempotency-Key"] = fresh()
        covered = {**headers, **({"If-Match": value} if (value := request.headers.get("If-Match")) else {})}
        signed = httpsig.sign_request(
            str(request.method), str(request.url), bytes_of(request), party.key, headers=covered
        )
        return sent(Browser(), request, signed)

    return send


def exercise(send: Send, names: dict[str, list[str]], examples: int, only: Callable[[Any], bool]) -> int:
    """Every operation that `only` lets through; returns how many requests were made."""
    wrong: list[str] = []
    made, choose = 0, random.Random(7)
    for found in SCHEMA.get_all_operations():
        operation = found.ok()
        if not only(operation):
            continue
        # Where nothing is given nothing can be wrong; Hypothesis would look for it hundreds of times.
        wrongs = max(examples // 2, 1) if operation.body or list(operation.iter_parameters()) else 0
        for mode, count in ((GenerationMode.POSITIVE, examples), (GenerationMode.NEGATIVE, wrongs)):
            if not count:
                continue
            bounded = settings(
                max_examples=count, derandomize=True, deadline=None, database=None, phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )  # fmt: skip

            @bounded
            @given(case=operation.as_strategy(generation_mode=mode))
            def one(case: Any) -> None:
                nonlocal made
                for name in case.path_parameters or {}:
                    if name in names and choose.random() < 0.8:
                        case.path_parameters[name] = choose.choice(names[name])
                prepared = requests.Request(**_plain(case.as_transport_kwargs(base_url=HOST))).prepare()
                answer = send(prepared)
                made += 1
                case.validate_response(_response(answer, prepared), checks=CHECKS)

            try:
                one()
            except Unsatisfiable:  # nothing can be wrong about it
                continue
            except FailureGroup as group:
                wrong += [f"{operation.label}: {error}" for error in group.exceptions]
    assert not wrong, "\n\n".join(wrong)
    return made


def _plain(kwargs: dict[str, Any]) -> dict[str, Any]:
    known = ("method", "url", "headers", "files", "data", "json", "params", "cookies")
    return {name: value for name, value in kwargs.items() if name in known}


def _response(answer: Any, request: requests.PreparedRequest) -> Response:
    content = b"".join(answer.streaming_content) if answer.streaming else answer.content
    headers = {name.lower(): [value] for name, value in answer.headers.items()}
    return Response(answer.status_code, headers, content, request, 0.01, verify=False)


@pytest.fixture(autouse=True)
def _no_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        api_settings, "DEFAULT_THROTTLE_RATES", dict.fromkeys(api_settings.DEFAULT_THROTTLE_RATES, "100000/second")
    )


@pytest.fixture
def party(story: Story) -> Party:
    return story.party()


@pytest.fixture
def names(story: Story, party: Party) -> dict[str, list[str]]:
    """Identifiers of things that exist, by what addresses call them."""
    window = story.masked_window()
    order = window.orders.get()
    proofs.record_verdict(story.proved(party, order).uuid, verdict(accepted=False))
    opened = windows.open_window(story.model, None, [story.approved_request("patient 12").uuid])
    webhook, _ = add_endpoint("https://receiver.example/hook")
    return {
        "window_id": [str(window.uuid), str(opened.uuid)],
        "order_id": [str(order.uuid)],
        "client_id": [party.uuid],
        "request_id": [str(row.uuid) for row in models.DeletionRequest.objects.all()]
        + [str(story.approved_request().uuid)],
        "model_id": [str(story.model.uuid)],
        "job_id": [str(row.uuid) for row in models.Job.objects.all()],
        "webhook_id": [str(webhook.uuid)],
        "sha256": [story.model.file_sha256, window.mask_sha256],
        "keyid": [str(models.ClientKey.objects.get().keyid)],
        "regulation": ["gdpr", "other"],
        "index": ["0", "3"],
    }


def _declares(operation: Any, scheme: str) -> bool:
    return any(scheme in each for each in operation.definition.raw.get("security", []))


def test_officers(names: dict[str, list[str]]) -> None:
    made = exercise(
        as_officer(officer("boss", superuser=True)), names, 4, lambda operation: _declares(operation, "cookieAuth")
    )
    assert made > 200


def test_clients(party: Party, names: dict[str, list[str]]) -> None:
    made = exercise(as_client(party), names, 4, lambda operation: _declares(operation, "clientSignature"))
    assert made > 40


def test_anybody(names: dict[str, list[str]]) -> None:
    made = exercise(as_officer(Browser()), names, 2, lambda _: True)
    assert made > 150
