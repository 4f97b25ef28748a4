"""Every address, every method, every kind of caller: who gets in. A new operation without a decision fails here."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client as Browser
from django.test import RequestFactory
from django.urls import URLPattern, get_resolver
from pydantic import BaseModel
from rest_framework.test import force_authenticate
from rest_framework.views import APIView

from ledger.api import openapi, operations
from ledger.api.auth import ClientView, OfficerView, PartyView
from ledger.api.public import Nothing, PublicView
from ledger.api.urls import urlpatterns
from tests.ledger.api.parts import API, by_client, by_officer, fresh, officer
from tests.ledger.story import Party, Story
from tests.ledger.test_api import expect_problem, send

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
#: What the parts of addresses stand for, where they name nothing.
NAMES = {"uuid": str(uuid.UUID(int=0)), "int": "999999", "str": "ab" * 32, "path": "0/000"}


def views() -> Iterator[tuple[str, type[APIView]]]:
    for pattern in urlpatterns:
        assert isinstance(pattern, URLPattern)
        view = pattern.callback.view_class  # type: ignore[attr-defined]
        if view is Nothing:
            continue
        path = "/" + str(pattern.pattern)
        for kind, value in NAMES.items():
            while f"<{kind}:" in path:
                before, _, rest = path.partition(f"<{kind}:")
                path = before + value + rest.partition(">")[2]
        yield path, view


CASES = [(method, path, view) for path, view in views() for method in METHODS if hasattr(view, method.lower())]


def declared() -> Iterator[tuple[str, type[APIView], operations.Operation]]:
    for method, _, view in CASES:
        said = operations.of(view, method)
        assert said is not None, f"{view.__name__} does not declare {method}"
        yield method, view, said


def test_every_method_declares_what_it_needs() -> None:
    for method, view, said in declared():
        if issubclass(view, OfficerView | PartyView):
            assert said.needs, f"{method} {view.__name__} names no permission"
        else:
            assert issubclass(view, ClientView | PublicView)
            assert said.needs is None, f"{method} {view.__name__} is not for officers"


def test_every_permission_exists(db: None) -> None:
    known = {
        f"{one.content_type.app_label}.{one.codename}" for one in Permission.objects.select_related("content_type")
    }
    assert {said.needs for _, _, said in declared() if said.needs} <= known


def test_every_address_is_in_the_document() -> None:
    shown = {
        (method.upper(), path)
        for path, methods in openapi.document()["paths"].items()
        for method in methods
        if path.startswith(API)
    }
    patterns = [
        (method, "/" + str(pattern.pattern))
        for pattern in urlpatterns
        for method in METHODS
        if pattern.callback.view_class is not Nothing  # type: ignore[union-attr]
        and hasattr(pattern.callback.view_class, method.lower())  # type: ignore[union-attr]
    ]
    assert len(shown) == len(patterns)


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """All pydantic classes in a type, those inside them too."""
    for part in get_args(annotation):
        yield from models_in(part)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
        for field in annotation.model_fields.values():
            yield from models_in(field.annotation)


def test_no_two_bodies_have_one_name() -> None:
    """The document calls them by their classes' names: one would stand for the other."""
    found: dict[str, type[BaseModel]] = {}
    for method, view, said in declared():
        for body in (said.takes, *said.gives.values()):
            for kind in models_in(body):
                assert found.setdefault(openapi.component_name(kind), kind) is kind, (
                    f"{method} {view.__name__}: {kind}"
                )


def test_only_these_roots() -> None:
    """What stands beside /api/v1: the admin, and the log for mirrors."""
    roots = {str(pattern.pattern) for pattern in get_resolver().url_patterns}
    assert roots >= {"api/v1/", "checkpoint", "tile/<path:path>"}


@pytest.fixture
def callers(story: Story) -> dict[str, Any]:
    return {"client": story.party("one"), "other": story.party("two")}


def ask(caller: Party | Browser | None, method: str, path: str) -> Any:
    if caller is None:
        return send(method, path)
    if isinstance(caller, Party):
        return by_client(method, path, caller, b"" if method == "GET" else {}, Idempotency_Key=fresh())
    return by_officer(method, path, caller)


def test_who_gets_in(callers: dict[str, Any]) -> None:
    """Refused is 401 or 403. Who gets in is told what is wrong with an empty request, or is served."""
    superuser, nobody = officer("superuser", superuser=True), officer("nobody")
    visitor = Browser()
    visitor.force_login(User.objects.create(username="visitor"))
    staffed: dict[str | None, tuple[Browser, Browser]] = {}
    all_needs = {said.needs for _, _, said in declared() if said.needs}
    for method, path, view in CASES:
        said = operations.of(view, method)
        assert said is not None
        if said.needs not in staffed:
            others = all_needs - {said.needs}
            right = officer(f"right {said.needs}", *([said.needs.removeprefix("ledger.")] if said.needs else []))
            wrong = officer(f"wrong {said.needs}", *(each.removeprefix("ledger.") for each in others))
            staffed[said.needs] = (right, wrong)
        right, wrong = staffed[said.needs]
        public, client = issubclass(view, PublicView), issubclass(view, ClientView | PartyView)
        staff = issubclass(view, OfficerView | PartyView)
        expected = {
            "anonymous": (None, public),
            "client": (callers["client"], public or client),
            "other client": (callers["other"], public or client),
            "visitor": (visitor, public),
            "staff without permission": (nobody, public),
            "staff with every other permission": (wrong, public),
            "officer": (right, public or staff),
            "superuser": (superuser, public or staff),
        }
        for name, (caller, allowed) in expected.items():
            answer = ask(caller, method, path)
            if allowed:
                refused = answer.status_code in (401, 403) and view.__name__ != "Statements"
                assert not refused, (name, method, path, answer.content)
                assert answer.status_code < 500, (name, method, path, answer.content)
            else:
                assert answer.status_code in (401, 403), (name, method, path, answer.status_code)
                expect_problem(
                    answer,
                    answer.status_code,
                    "permission-denied" if answer.status_code == 403 else "not-authenticated",
                )


def test_methods_that_do_not_exist(callers: dict[str, Any]) -> None:
    superuser = officer("superuser", superuser=True)
    for path, view in views():
        caller = callers["client"] if issubclass(view, ClientView) else superuser
        for method in METHODS:
            if not hasattr(view, method.lower()):
                expect_problem(ask(caller, method, path), 405, "method-not-allowed")


def test_a_view_that_declares_nothing_is_refused(db: None) -> None:
    """The attack is ours: somebody adds a view and forgets to decide who may."""

    class Forgotten(OfficerView):
        def get(self, _request: Any) -> Any:
            raise AssertionError

    from django.contrib.auth.models import User

    request = RequestFactory().get("/")
    force_authenticate(request, User.objects.create(username="boss", is_staff=True, is_superuser=True))
    assert Forgotten.as_view()(request).status_code == 403
