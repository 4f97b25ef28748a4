"""Log lines: no secret and no name in any of them, whatever is done; one cause, one id, through to the workers."""

from __future__ import annotations

import base64
import io
import json
import logging
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import LazySettings
from django.contrib.auth.models import Group, User
from django.db import IntegrityError, transaction
from django.test import Client as Browser

from ledger import keys, logs, models, queue
from ledger import secrets as ledger_secrets
from ledger.access import factors, roles
from ledger.workflow import webhooks
from tests.authenticator import code_at
from tests.ledger.api.parts import API, by_officer, fresh
from tests.ledger.story import FORGET, Party, Story
from tests.ledger.test_api import send
from tests.ledger.working import worker

PASSWORD = "correct horse battery staple"
TYPED_INTO_THE_WRONG_FIELD = "hunter2-and-then-some"
PERSON = "Jane Roe of Kettering"


class Written(io.StringIO):
    """What the log holds."""

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.getvalue().splitlines()]

    def about(self, event: str) -> dict[str, Any]:
        return next(line for line in self.lines() if line.get("event") == event)


@pytest.fixture(params=["json", "text"])
def written(request: pytest.FixtureRequest) -> Iterator[Written]:
    """Everything that any library logs, at every level, through our formatters."""
    stream = Written()
    handler = logging.StreamHandler(stream)
    text = request.param == "text"
    handler.setFormatter(
        logs.Lines("%(asctime)s %(levelname)s %(name)s: %(message)s") if text else logs.JsonLines()
    )
    root, levels = logging.getLogger(), {}
    for name in ("", "ledger", "ledger.audit", "ledger.http", "django.request", "django", "celery"):
        levels[name] = logging.getLogger(name).level
        logging.getLogger(name).setLevel(logging.DEBUG)
    root.addHandler(handler)
    yield stream
    root.removeHandler(handler)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def officer_with_a_second_factor(browser: Browser) -> tuple[User, list[str]]:
    """Logs in with password and code, after wrong tries of both; returns what must stay secret."""
    user = User.objects.create_user("ann", password=PASSWORD, is_staff=True)
    user.groups.set(Group.objects.all())
    secret = factors.new_secret()
    factors.add_totp(user, secret, code_at(secret, time.time()), "phone")
    models.SecondFactor.objects.update(last_step=0)
    recovery = factors.new_recovery_codes(user)
    for name, password in ((TYPED_INTO_THE_WRONG_FIELD, "x"), ("ann", PASSWORD + "!"), ("ann", PASSWORD)):
        browser.post("/admin/login/", {"username": name, "password": password})
    code = code_at(secret, time.time())
    for tried in ("aaaa-bbbb-cccc-dddd", code):
        browser.post("/admin/second-factor/", {"code": tried})
    assert browser.get("/admin/tokens/").status_code == 200
    cookies = [browser.cookies["sessionid"].value, browser.cookies["ledger-device"].value]
    base32 = base64.b32encode(secret).decode()
    return user, [PASSWORD, TYPED_INTO_THE_WRONG_FIELD, secret.hex(), base32, *recovery, *cookies]


def test_nothing_secret_is_logged(
    story: Story, written: Written, settings: LazySettings, django_capture_on_commit_callbacks: Any
) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.LEDGER_WEBHOOKS_ALLOW_PRIVATE = True
    browser = Browser()
    with django_capture_on_commit_callbacks(execute=True):
        _, secrets = officer_with_a_second_factor(browser)
        asked = {"label": "script", "role": roles.OFFICER, "days": "30"}
        page = browser.post("/admin/tokens/", asked).content.decode()
        token = page[page.index("ulo_") :][:68]  # shown this once
        secrets.append(token)
        for text in (token, "ulo_" + "5" * 64):
            Browser().get(f"{API}/requests", headers={"Authorization": f"Bearer {text}"})
        invited = by_officer("POST", "/clients", browser, {"name": "Hospital Nord"}, Idempotency_Key=fresh()).json()
        party = Party(models.Client.objects.get(name="Hospital Nord"), invited["token"])
        for text in ("6" * 64, invited["token"], invited["token"]):
            send("POST", "/statements", body=party.enrolment(), **{"Enrolment-Token": text})
        hook = by_officer(
            "POST",
            "/webhooks",
            browser,
            {"url": "http://127.0.0.1:9/in?key=of-the-receiver"},
            Idempotency_Key=fresh(),
        ).json()
        webhooks.fan_out()
        webhooks.deliver_due()
        filed = {"regulation": "gdpr", "subject": PERSON, "forget": FORGET}
        request = by_officer("POST", "/requests", browser, filed, Idempotency_Key=fresh())
        assert request.status_code == 201, request.content
        by_officer("POST", "/requests", browser, {"subject": PERSON}, Idempotency_Key=fresh())
    a_database_that_complains()
    secrets += [PERSON, "Hospital Nord", invited["token"], "6" * 64, "5" * 64, hook["secret"], "of-the-receiver"]
    secrets += [
        str(settings.SECRET_KEY),
        ledger_secrets.file_secret(settings.LEDGER_DATA_DIR / "keys/vault-master"),
    ]
    secrets += [keys.path(role).read_text().splitlines()[1] for role in (keys.LOG, keys.PROVIDER)]
    said = written.getvalue()
    assert "IntegrityError" in said, "the log was written"
    assert [each for each in secrets if each and each in said] == []


def a_database_that_complains() -> None:
    """PostgreSQL quotes the row that it refuses; Django's error page and every traceback repeat it."""
    try:
        with transaction.atomic():
            models.Client.objects.create(
                name="Hospital Nord", token_hash="0" * 64, token_expires_at="2030-01-01T00:00Z"
            )
    except IntegrityError:
        logging.getLogger("ledger").exception("an import failed for postgresql://ledger:s3cr@t@db.example/ledger")
    else:
        raise AssertionError("the name was free")


@pytest.mark.parametrize("written", ["json"], indirect=True)
def test_one_cause_one_id(
    story: Story, written: Written, settings: LazySettings, django_capture_on_commit_callbacks: Any
) -> None:
    """The proxy's id is taken where there is a proxy, and only what looks like one; it stands in every line."""
    boss = User.objects.create(username="boss", is_staff=True, is_superuser=True)
    browser = Browser()
    browser.force_login(boss)
    filed = {"regulation": "gdpr", "subject": PERSON, "forget": FORGET}
    settings.HTTPS = True
    with django_capture_on_commit_callbacks(execute=True):
        answer = by_officer(
            "POST", "/requests", browser, filed, Idempotency_Key=fresh(), X_Request_Id="from-the-proxy"
        )
    assert answer.headers["X-Request-Id"] == "from-the-proxy"
    event = written.about("request.filed")
    line = next(one for one in written.lines() if one["message"] == "request")
    assert (event["level"], event["logger"], event["who"]) == ("INFO", "ledger.audit", f"officer {boss.pk}")
    assert event["about_request"] == answer.json()["uuid"]
    assert {name: line[name] for name in ("message", "method", "route", "status", "who", "request")} == {
        "message": "request", "method": "POST", "route": "api/v1/requests", "status": 201,
        "who": f"officer {boss.pk}", "request": "from-the-proxy",
    }  # fmt: skip
    for given in ("x", "a b c d e f g h", "y" * 65, 'quote"quote'):
        assert uuid.UUID(Browser().get("/checkpoint", headers={"X-Request-Id": given}).headers["X-Request-Id"])
    settings.HTTPS = False
    assert Browser().get("/checkpoint", headers={"X-Request-Id": "x" * 20}).headers["X-Request-Id"] != "x" * 20


def test_the_id_goes_on_into_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """A real worker takes the message from the real queue; what it logs names the request."""
    done, written, logger = threading.Event(), Written(), logging.getLogger("tests.logs")
    handler = logging.StreamHandler(written)  # at a logger of its own: Celery sets up the root's anew
    handler.setFormatter(logs.JsonLines())
    logger.addHandler(handler)

    @queue.app.task(name="tests.logs.echo", shared=False)
    def echo(job_id: str) -> None:
        logger.warning("at work")
        done.set()

    monkeypatch.setitem(queue.TASKS, models.Job.Kind.MASK, "tests.logs.echo")
    job = models.Job(kind=models.Job.Kind.MASK, target=uuid.uuid4(), cause="the-cause")
    with worker():
        queue._send(job)
        assert done.wait(30)
    logger.removeHandler(handler)
    del queue.app.tasks["tests.logs.echo"]  # other tests look at all of them
    (line,) = written.lines()
    assert (line["request"], line["job"], line["task"]) == ("the-cause", str(job.uuid), "tests.logs.echo")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://ledger:pa:s@s@db.example/ledger", "postgresql://ledger:***@db.example/ledger"),
        ("redis://:secret@broker/0", "redis://:***@broker/0"),
        ("https://db.example/ledger@x", "https://db.example/ledger@x"),
        ("{'password': 'two words', 'a': 1}", "{'password': ***, 'a': 1}"),
        ("Authorization: Basic YW5uOnB3 x", "Authorization: Basic *** x"),
        ("the token is for client 5", "the token is for client 5"),
        ("DETAIL:  Key (name)=(Jane Roe) already exists.", "DETAIL:  Key (name)=(***) already exists."),
        ("DETAIL:  Failing row contains (1, Jane (Roe), x).", "DETAIL:  Failing row contains (***)."),
        ("3f1f2c3d-aaaa-bbbb-cccc-dddddddddddd", "3f1f2c3d-aaaa-bbbb-cccc-dddddddddddd"),
        ("leaf " + "ab" * 32, "leaf abababab…"),
        ("-----BEGIN PRIVATE KEY-----\nMC4C\n-----END PRIVATE KEY-----", "[private key]"),
        ("-----BEGIN PRIVATE KEY-----\nMC4C cut off", "[private key]"),
        ("PRIVATE+KEY+log.example+12ab34cd+AAAA", "[private key]"),
    ],
)
def test_what_is_taken_out(text: str, shown: str) -> None:
    assert logs.redact(text) == shown
