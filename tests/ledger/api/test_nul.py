"""NUL, the one character that PostgreSQL's text cannot hold: wherever it is put, no failure of ours follows."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from django.test import Client as Browser
from django.urls import URLPattern

from ledger.api import operations
from ledger.api.urls import urlpatterns
from tests.ledger.api.parts import API, by_client, by_officer, fresh, officer
from tests.ledger.api.test_permissions import NAMES
from tests.ledger.story import Story
from tests.ledger.test_api import expect_problem

pytestmark = pytest.mark.django_db


def addresses() -> list[str]:
    """Every address that is read; NUL is what its free parts are, and what every filter asks for."""
    found = []
    for pattern in urlpatterns:
        assert isinstance(pattern, URLPattern)
        view = pattern.callback.view_class  # type: ignore[attr-defined]
        said = operations.of(view, "GET") if hasattr(view, "get") else None
        if said is None:
            continue
        path = "/" + str(pattern.pattern)
        for kind, value in (NAMES | {"str": "a%00b", "path": "a%00b"}).items():
            while f"<{kind}:" in path:
                before, _, rest = path.partition(f"<{kind}:")
                path = before + value + rest.partition(">")[2]
        found += [path, *(f"{path}?{name}=a%00b" for name in (said.query.model_fields if said.query else ()))]
    return found


def test_no_address_makes_the_server_fail() -> None:
    browser = officer("boss", superuser=True)
    asked = addresses()
    assert len([one for one in asked if "%00" in one]) > 20
    answers = {one: browser.get(one).status_code for one in asked}
    assert {one: status for one, status in answers.items() if status >= 500} == {}


def test_no_name_of_a_key_does(story: Story) -> None:
    party = story.party()
    boss, revoking = officer("boss", superuser=True), f"/clients/{party.uuid}/keys/a%00b/revoke"
    answer = by_officer("POST", revoking, boss, {"reason": "lost"}, Idempotency_Key=fresh())
    assert "NUL" in expect_problem(answer, 400, "bad-request")
    answer = by_client("PATCH", "/me/keys/a%00b", party, {"label": "x"}, Idempotency_Key=fresh())
    assert "NUL" in expect_problem(answer, 400, "bad-request")


@pytest.mark.parametrize("body", [{"name": "a\0b"}, {"na\0me": "a"}, {"name": ["a", {"b": "\0"}]}, "\0"])
def test_no_body_has_one(body: Any) -> None:
    answer = by_officer("POST", "/clients", officer("boss", superuser=True), body, Idempotency_Key=fresh())
    expect_problem(answer, 400, "parse-error")
    assert "NUL" in answer.json()["detail"]


def test_two_backslashes_are_none() -> None:
    """The text \\u0000, about the character."""
    body = json.loads(r'{"name": "a\\u0000b"}')
    answer = by_officer("POST", "/clients", officer("boss", superuser=True), body, Idempotency_Key=fresh())
    assert answer.status_code == 201


def test_nobody_is_called_so() -> None:
    given = base64.b64encode(b"bo\0ss:secret").decode()
    answer = Browser().get(f"{API}/policy", headers={"Authorization": f"Basic {given}"})
    assert answer.status_code == 401
    assert Browser().post("/admin/login/", {"username": "bo\0ss", "password": "x"}).status_code == 200


def test_a_file_of_requests_has_none() -> None:
    browser = officer("boss", superuser=True)

    def sent(text: str, kind: str) -> Any:
        headers = {"Idempotency-Key": fresh()}
        return browser.generic("POST", f"{API}/requests/imports", text, content_type=kind, headers=headers)

    assert "line 2" in expect_problem(sent("subject\na\0b\n", "text/csv"), 422, "bad-file")
    line = json.dumps({"subject": "a\0b", "regulation": "g\0dpr", "forget": {"dataset": "d\0"}})
    assert sent(line, "application/x-ndjson").status_code == 200  # with a report that says what is wrong with it
