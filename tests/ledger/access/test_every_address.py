"""Every address there is, enumerated from the URL patterns: who gets in, and under which headers.

The REST interface's operations are tried one by one in `tests/ledger/api/test_permissions.py`, lists and actions of
the console in `test_roles.py`. Here is the rest, and what makes sure that nothing stands beside them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client as Browser
from django.urls import URLPattern, get_resolver

from ledger import log, models
from ledger.access import roles
from ledger.middleware import CONSOLE_POLICY, POLICY
from tests.ledger.access.test_roles import browser_of, may, somebody
from tests.ledger.api.test_permissions import NAMES

ADD, CHANGE, DELETE = "add", "change", "delete"
#: What may be posted to pages of tables, and by whom beside the administrator; everything else is refused to all.
#: Said here once more, on purpose.
FORMS = {
    ("deletionrequest", ADD): "officer", ("requestimport", ADD): "officer", ("export", ADD): "officer",
    ("client", ADD): "operator",
    ("policy", ADD): "", ("regulationterms", CHANGE): "",
    ("user", ADD): "", ("user", CHANGE): "",
}  # fmt: skip
#: Pages that every account of the staff has, and what they do is about that account only.
OWN = {
    "", "live/progress/", "views/NAME/", "figures/", "second-factor/", "second-factor/setup/",
    "second-factor/passkey/NAME", "tokens/", "search/", "logout/", "password_change/", "password_change/done/",
    "jsi18n/",
}  # fmt: skip
#: Open to everybody, beside the REST interface.
PUBLIC = {
    "",
    ".well-known/security.txt",
    "health",
    "ready",
    "metrics",
    "checkpoint",
    "tile/NAME",
    "admin/login/",
    "admin/language/",
}


def patterns(resolver: Any = None, before: str = "") -> Iterator[str]:
    for each in (resolver or get_resolver()).url_patterns:
        whole = before + str(each.pattern)
        if isinstance(each, URLPattern):
            yield whole
        else:
            yield from patterns(each, whole)


def address(pattern: str) -> str:
    """A pattern with names that name nothing."""
    for kind, value in (NAMES | {"path": "NAME"}).items():
        pattern = re.sub(rf"<{kind}:\w+>", "NAME" if kind == "str" else value, pattern)
    return re.sub(r"<\w+>", "NAME", pattern)


EVERY = [address(each) for each in patterns()]
CONSOLE = [each.removeprefix("admin/") for each in EVERY if each.startswith("admin/") and "^" not in each]
TABLES = [each for each in CONSOLE if re.match(r"(ledger|auth)/\w+/", each)]


def test_nothing_stands_beside_what_is_tested() -> None:
    """A new root, or a new page of the console, fails here until somebody has decided who may see it."""
    assert {each for each in EVERY if not each.startswith(("admin/", "api/"))} | {
        "admin/login/", "admin/language/",
    } == PUBLIC  # fmt: skip
    rest = {each for each in CONSOLE if each not in TABLES and "NAME" not in each}
    assert rest <= OWN | {
        "login/",
        "language/",
        "autocomplete/",
        "log/999999/inclusion/",
    }
    assert len(TABLES) > 150
    ends = {re.sub(r"^\w+/\w+/(NAME/)?", "", each) for each in TABLES}
    assert ends == {"", "add/", "change/", "delete/", "history/", "csv/", "password/"}
    assert models.LogEntry.__name__.lower() in {each.split("/")[1] for each in TABLES}


@pytest.fixture
def strangers(db: None) -> dict[str, Browser]:
    visitor = Browser()
    visitor.force_login(User.objects.create(username="visitor"))
    return {"anonymous": Browser(), "visitor": visitor}


def test_strangers_are_sent_to_the_login(strangers: dict[str, Browser]) -> None:
    for name, browser in strangers.items():
        for each in CONSOLE:
            if each in ("login/", "logout/", "language/"):
                continue
            for method in ("GET", "POST"):
                answer = browser.generic(method, f"/admin/{each}")
                if answer.status_code == 405:
                    assert (method, each) == ("GET", "second-factor/passkey/NAME")
                    continue
                assert answer.status_code == 302, (name, method, each)
                assert answer.headers["Location"].startswith("/admin/login/"), (name, method, each)
    assert (
        "GET" in Browser().get("/admin/login/").content.decode()
        or Browser().get("/admin/login/").status_code == 200
    )


@pytest.mark.parametrize("role", [*roles.ROLES, "nobody"])
def test_every_form_of_every_table(db: None, role: str) -> None:
    """By every role, with an empty form, about a row that does not exist: who may is told so, others get 403."""
    browser = browser_of(somebody(*([] if role == "nobody" else [role])))
    for each in TABLES:
        _, table, *rest = each.strip("/").split("/")
        kind = rest[-1] if rest else ""
        if kind not in (ADD, CHANGE, DELETE, "password"):
            continue
        permitted = FORMS.get((table, CHANGE if kind == "password" else kind))
        allowed = permitted is not None and role != "nobody" and may(role, permitted)
        status = browser.post(f"/admin/{each}", {"post": "yes"}).status_code
        assert status in ((200, 302, 404) if allowed else (403,)), (role, each, status)
    assert log.size() == 0


def test_whoever_has_no_role_reads_nothing(db: None) -> None:
    browser = browser_of(somebody())
    for each in TABLES:
        if "NAME" not in each:
            assert browser.get(f"/admin/{each}").status_code == 403, each
            assert browser.get(f"/admin/{each}", headers={"X-Part": "any"}).status_code == 403, each
    assert browser.get("/admin/log/0/inclusion/").status_code in (403, 404)


def test_headers_of_every_page(db: None, strangers: dict[str, Browser]) -> None:
    """Whatever answers: pages, refusals, redirects, errors, files; by whomever they are asked for."""
    boss = browser_of(somebody("boss", is_superuser=True))
    lists = [f"admin/{each}" for each in TABLES if each.count("/") == 2][:4]
    asked = [*PUBLIC, *(f"admin/{each}" for each in OWN), *lists, "admin/ledger/job/add/", "nothing/at/all"]
    asked += ["api/v1/releases", "api/v1/windows", "api/v1/docs", "api/v1/openapi.json", "api/v1/nothing"]
    for browser in (strangers["anonymous"], boss):
        for each in asked:
            answer = browser.get(f"/{each}")
            said = answer.headers
            console = each.startswith("admin/")
            assert said["Content-Security-Policy"] == (CONSOLE_POLICY if console else POLICY), each
            assert said["X-Content-Type-Options"] == "nosniff", each
            assert said["X-Frame-Options"] == "DENY", each
            assert said["Referrer-Policy"] == "same-origin", each
            assert said["Cross-Origin-Opener-Policy"] == "same-origin", each
            assert "camera=()" in said["Permissions-Policy"], each
            assert "Access-Control-Allow-Origin" not in said, each
            if console and answer.status_code == 200 and each != "admin/jsi18n/":
                assert "no-store" in said["Cache-Control"] or "no-cache" in said["Cache-Control"], each
    script = [part for part in CONSOLE_POLICY.split("; ") if part.startswith("script-src")]
    assert "unsafe-inline" not in "".join(script)
    assert "unsafe" not in POLICY
