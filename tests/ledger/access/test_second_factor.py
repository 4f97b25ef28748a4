"""Second factors, tokens, sessions and guessing: each defence, and somebody who tries to get past it."""

from __future__ import annotations

import base64
import time
from datetime import timedelta
from typing import Any

import pytest
from django.conf import LazySettings
from django.contrib.auth.models import Group, User
from django.core import checks
from django.test import Client as Browser
from django.urls import reverse
from django.utils import timezone

from ledger import models
from ledger.access import factors, roles, session, tokens
from ledger.workflow.windows import open_window
from tests.authenticator import code_at
from tests.ledger.api.parts import API
from tests.ledger.story import Story

PASSWORD = "a pass phrase of the tests"
HOME = "/admin/"


@pytest.fixture(autouse=True)
def quick_passwords(settings: LazySettings) -> None:
    """Sixty guesses with scrypt would take half a minute."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def ann(db: None) -> User:
    user = User.objects.create_user("ann", password=PASSWORD, is_staff=True)
    user.groups.set(Group.objects.filter(name=roles.OFFICER))
    return user


@pytest.fixture
def secret(ann: User) -> bytes:
    """Of ann's authenticator app."""
    return app_of(ann)


def app_of(user: User) -> bytes:
    """The secret of a new authenticator app, whose present code is still unused."""
    secret = factors.new_secret()
    factors.add_totp(user, secret, code_at(secret, time.time()), "phone")
    models.SecondFactor.objects.filter(user=user).update(last_step=0)
    return secret


def login(name: str = "ann", password: str = PASSWORD, browser: Browser | None = None) -> tuple[Browser, Any]:
    browser = browser or Browser()
    return browser, browser.post("/admin/login/", {"username": name, "password": password})


def show(browser: Browser, code: str, onward: str = HOME) -> Any:
    return browser.post(f"/admin/second-factor/?next={onward}", {"code": code, "next": onward})


def basic(password: str = PASSWORD, name: str = "ann") -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(f'{name}:{password}'.encode()).decode()}"}


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


class TestCodes:
    def test_the_password_alone_opens_nothing(self, ann: User, secret: bytes) -> None:
        browser, _ = login()
        for path in (HOME, "/admin/ledger/deletionrequest/", "/admin/tokens/"):
            answer = browser.get(path)
            assert (answer.status_code, answer.url.partition("?")[0]) == (302, "/admin/second-factor/"), path
        assert browser.get("/admin/second-factor/setup/").url.startswith("/admin/second-factor/?")  # no new factor
        assert browser.post("/admin/second-factor/passkey/add-options").status_code == 403
        assert browser.get(f"{API}/requests").status_code == 401
        assert Browser().get(f"{API}/requests", headers=basic()).status_code == 401
        assert show(browser, code_at(secret, time.time())).url == HOME
        assert browser.get(HOME).status_code == 200
        assert browser.get(f"{API}/requests").status_code == 200

    def test_every_code_is_good_once(self, ann: User, secret: bytes) -> None:
        """The attack: somebody reads a code over a shoulder and types it a second later."""
        code = code_at(secret, time.time())
        assert show(login()[0], code).status_code == 302
        page = show(login()[0], code).content.decode()
        assert "every code is good once" in page

    def test_old_and_future_codes(self, ann: User, secret: bytes) -> None:
        for seconds in (-5 * factors.STEP, 5 * factors.STEP):
            assert show(login()[0], code_at(secret, time.time() + seconds)).status_code == 200

    def test_guessing_is_stopped(self, ann: User, secret: bytes) -> None:
        """Even the right code is refused then; anybody else's account is not touched."""
        browser, _ = login()
        for number in range(10):
            assert "this code is wrong" in show(browser, f"x{number}").content.decode()
        assert "too many wrong codes" in show(browser, code_at(secret, time.time())).content.decode()

    def test_recovery_codes(self, ann: User, secret: bytes) -> None:
        codes = factors.new_recovery_codes(ann)
        assert len(set(codes)) == 10
        assert show(login()[0], codes[0].upper()).status_code == 302
        assert show(login()[0], codes[0]).status_code == 200
        factors.new_recovery_codes(ann)
        assert show(login()[0], codes[1]).status_code == 200  # void since there are new ones
        assert not models.RecoveryCode.objects.filter(digest__contains=codes[2].replace("-", "")).exists()

    def test_anothers_code(self, ann: User, secret: bytes) -> None:
        bob = User.objects.create_user("bob", password=PASSWORD, is_staff=True)
        own = app_of(bob)
        assert show(login()[0], code_at(own, time.time())).status_code == 200

    def test_the_secret_is_sealed(self, ann: User, secret: bytes) -> None:
        row = models.SubjectRecord.objects.get()
        assert secret not in bytes(row.ciphertext)
        assert secret.hex().encode() not in bytes(row.ciphertext)
        factors.remove(models.SecondFactor.objects.get())
        row.refresh_from_db()
        assert row.erased_at is not None

    def test_it_leads_nowhere_else(self, ann: User, secret: bytes) -> None:
        """The attack: a link to our page that goes on to another site."""
        answer = show(login()[0], code_at(secret, time.time()), "https://evil.example/")
        assert answer.url == HOME


class TestEnrolment:
    def test_with_an_app(self, ann: User, settings: LazySettings) -> None:
        settings.LEDGER_SECOND_FACTOR = True
        browser, _ = login()
        assert browser.get(HOME).url == "/admin/second-factor/setup/"
        page = browser.get("/admin/second-factor/setup/")
        secret = base64.b32decode(page.context["secret"])
        wrong = browser.post("/admin/second-factor/setup/", {"do": "totp", "code": "000000", "label": "x"})
        assert "is not the code" in wrong.content.decode()
        sent = {"do": "totp", "code": code_at(secret, time.time()), "label": "phone"}
        page = browser.post("/admin/second-factor/setup/", sent)
        assert len(page.context["codes"]) == 10
        assert browser.get(HOME).status_code == 200
        remove = {"do": "remove", "factor": models.SecondFactor.objects.get().pk}
        assert "this is the last one" in browser.post("/admin/second-factor/setup/", remove).content.decode()
        assert models.Event.objects.get().kind == "account.factor-added"

    def test_it_needs_the_password_lately(self, ann: User) -> None:
        """The attack: somebody finds a console open and enrols a factor of their own."""
        browser, _ = login()
        age(browser, session._PROVED, session.PROOF_SECONDS + 1)
        assert browser.get("/admin/second-factor/setup/").url.startswith("/admin/second-factor/?")
        assert browser.post("/admin/second-factor/passkey/add-options").status_code == 403

    def test_a_system_check_warns(self, settings: LazySettings) -> None:
        def found() -> set[str]:
            return {one.id for one in checks.run_checks() if one.id}

        settings.HTTPS, settings.LEDGER_SECOND_FACTOR = True, False
        assert "ledger.W008" in found()
        settings.LEDGER_SECOND_FACTOR = True
        assert "ledger.W008" not in found()


class TestReset:
    def act(self, by: User, whom: User) -> str:
        browser = Browser()
        browser.force_login(by)
        sent = {"action": "reset_factors", "_selected_action": [str(whom.pk)], "confirmed": "yes"}
        return browser.post(reverse("admin:auth_user_changelist"), sent, follow=True).content.decode()

    def test_by_an_administrator(self, ann: User, secret: bytes) -> None:
        boss = User.objects.create(username="boss", is_staff=True)
        boss.groups.set(Group.objects.filter(name=roles.ADMINISTRATOR))
        _, text = tokens.make(ann, "script", roles.OFFICER, 10)
        self.act(boss, ann)
        assert not models.SecondFactor.objects.exists()
        assert tokens.find(text) is None
        event = models.Event.objects.get(kind="account.factors-reset")
        assert (event.actor_name, event.data) == ("boss", {"account": ann.pk})

    def test_nobody_else(self, ann: User, secret: bytes) -> None:
        """The attacks: an officer resets a colleague's factor, an administrator a superuser's."""
        chief = User.objects.create(username="chief", is_staff=True, is_superuser=True)
        app_of(chief)
        officer = User.objects.create(username="olga", is_staff=True)
        officer.groups.set(Group.objects.filter(name=roles.OFFICER))
        self.act(officer, ann)
        boss = User.objects.create(username="boss", is_staff=True)
        boss.groups.set(Group.objects.filter(name=roles.ADMINISTRATOR))
        assert "only a superuser" in self.act(boss, chief)
        assert models.SecondFactor.objects.count() == 2


class TestTokens:
    def test_it_has_one_role_of_its_owner(self, ann: User, secret: bytes) -> None:
        ann.groups.add(Group.objects.get(name=roles.APPROVER))
        _, text = tokens.make(ann, "script", roles.OFFICER, 10)
        assert not models.ApiToken.objects.filter(digest__contains=text).exists()
        nobody = "00000000-0000-0000-0000-000000000000"
        for path, status in {"hold": 422, "decision": 403}.items():
            answer = Browser().post(
                f"{API}/requests/{nobody}/{path}", {}, content_type="application/json", headers=bearer(text)
            )
            assert answer.status_code == status, path
        ann.groups.set(Group.objects.filter(name=roles.APPROVER))
        assert Browser().get(f"{API}/requests", headers=bearer(text)).status_code == 401

    def test_it_ends(self, ann: User) -> None:
        row, text = tokens.make(ann, "script", roles.OFFICER, 10)
        assert Browser().get(f"{API}/requests", headers=bearer(text)).status_code == 200
        assert (
            Browser().get(f"{API}/requests", headers=bearer(text[:-1] + "0x"[text[-1] == "0"])).status_code == 401
        )
        tokens.revoke(row, ann)
        assert Browser().get(f"{API}/requests", headers=bearer(text)).status_code == 401
        row, text = tokens.make(ann, "script", roles.OFFICER, 10)
        models.ApiToken.objects.filter(pk=row.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
        assert Browser().get(f"{API}/requests", headers=bearer(text)).status_code == 401
        _, text = tokens.make(ann, "script", roles.OFFICER, 10)
        User.objects.update(is_active=False)
        assert Browser().get(f"{API}/requests", headers=bearer(text)).status_code == 401

    def test_it_opens_no_page(self, ann: User) -> None:
        _, text = tokens.make(ann, "script", roles.OFFICER, 10)
        assert Browser().get(HOME, headers=bearer(text)).status_code == 302

    def test_made_on_its_page(self, ann: User) -> None:
        browser, _ = login()
        sent = {"label": "script", "role": roles.OFFICER, "days": "30"}
        page = browser.post("/admin/tokens/", sent).content.decode()
        text = tokens.PREFIX + page.partition(tokens.PREFIX)[2][:64]
        assert Browser().get(f"{API}/requests", headers=bearer(text)).status_code == 200
        assert (
            "not one of the available"
            in browser.post("/admin/tokens/", sent | {"role": "approver"}).content.decode()
        )
        assert text not in browser.get("/admin/tokens/").content.decode()
        age(browser, session._PROVED, session.PROOF_SECONDS + 1)
        assert browser.post("/admin/tokens/", sent).status_code == 302  # asks first who sits there
        browser.post("/admin/tokens/", {"do": "revoke", "token": models.ApiToken.objects.get().pk})
        assert Browser().get(f"{API}/requests", headers=bearer(text)).status_code == 401


def age(browser: Browser, what: str, seconds: float) -> None:
    """Make something of the session so many seconds older."""
    stored = browser.session
    stored[what] -= seconds
    stored.save()


class TestSessions:
    def test_a_login_gets_a_new_name(self, ann: User, secret: bytes) -> None:
        """The attack: somebody plants a session name in a browser and waits for its owner to log in."""
        browser, names = Browser(), []
        browser.get("/admin/login/")
        browser.session.save()
        names.append(browser.session.session_key)
        login(browser=browser)
        names.append(browser.session.session_key)
        show(browser, code_at(secret, time.time()))
        names.append(browser.session.session_key)
        assert len(set(names)) == 3

    def test_idle_and_old_ones_end(self, ann: User, settings: LazySettings) -> None:
        for what, seconds in ((session._SEEN, 31 * 60), (session._STARTED, settings.SESSION_COOKIE_AGE + 1)):
            browser, _ = login()
            age(browser, what, seconds - 120)
            assert browser.get(HOME).status_code == 200
            age(browser, what, seconds)
            assert browser.get(HOME).status_code == 302
            assert browser.get(f"{API}/requests").status_code in (401, 403)

    def test_what_a_page_asks_by_itself_keeps_nothing_alive(self, ann: User) -> None:
        browser, _ = login()
        age(browser, session._SEEN, 20 * 60)
        assert browser.get(HOME, headers={session.BACKGROUND: "1"}).status_code == 200
        age(browser, session._SEEN, 11 * 60)
        assert browser.get(HOME).status_code == 302

    def test_cookies_are_strict(self, ann: User) -> None:
        _, answer = login()
        for cookie in answer.cookies.values():
            assert cookie["samesite"] == "Strict"
            assert cookie["httponly"]

    def test_a_window_is_closed_by_who_sits_there(self, story: Story) -> None:
        """The attack: a console is left open, and somebody closes a window."""
        story.party()
        request = story.approved_request()
        window = open_window(models.GlobalModel.objects.get(), None, [request.uuid])
        boss = User.objects.create_user("boss", password=PASSWORD, is_staff=True, is_superuser=True)
        browser = Browser()
        browser.force_login(boss)
        age(browser, session._PROVED, session.PROOF_SECONDS + 1)
        sent = {"action": "close", "_selected_action": [str(window.pk)], "confirmed": "yes"}
        page = reverse("admin:ledger_window_changelist")
        answer = browser.post(page, sent)
        assert answer.url.startswith("/admin/second-factor/?next=")
        window.refresh_from_db()
        assert window.state == "open"
        assert browser.post(answer.url, {"password": "a guess", "next": page}).status_code == 200
        assert browser.post(answer.url, {"password": PASSWORD, "next": page}).url == page
        browser.post(page, sent)
        window.refresh_from_db()
        assert window.state == "closed"


class TestGuessing:
    def test_an_account_is_guarded_and_its_owner_is_not_locked_out(self, ann: User) -> None:
        """The attack: many addresses guess at one name until it is shut. The owner's own browser still opens it."""
        owner, answer = login()
        assert answer.status_code == 302
        for number in range(20):
            guess = {"username": "ann", "password": f"guess {number}"}
            assert Browser(REMOTE_ADDR=f"10.0.0.{number}").post("/admin/login/", guess).status_code == 200
        stranger = Browser(REMOTE_ADDR="10.0.1.1")
        refused = login(browser=stranger)[1]
        assert "Too many wrong passwords" in refused.content.decode()
        assert stranger.get(f"{API}/requests", headers=basic()).status_code == 401
        owner.post("/admin/logout/")
        assert login(browser=owner)[1].status_code == 302

    def test_a_stolen_cookie_opens_one_account_only(self, ann: User) -> None:
        User.objects.create_user("bob", password=PASSWORD, is_staff=True)
        anns, _ = login()
        for number in range(20):
            Browser(REMOTE_ADDR=f"10.0.0.{number}").post("/admin/login/", {"username": "bob", "password": "x"})
        assert "Too many" in login("bob", browser=anns)[1].content.decode()

    def test_an_address_is_stopped_over_all_names(self, db: None, ann: User) -> None:
        thief = Browser(REMOTE_ADDR="10.9.9.9")
        for number in range(30):
            thief.post("/admin/login/", {"username": f"name {number}", "password": "x"})
        assert "Too many" in login(browser=thief)[1].content.decode()
