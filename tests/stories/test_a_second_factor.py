"""An officer sets up second factors in a real browser and logs in with them.

The promise: with a passkey or an authenticator app set up, a stolen password opens nothing; what the app shows is
good once; a passkey that was set up elsewhere is refused; programs go on with a token where the password no longer
does. The pages for it can be used by everybody, in light and in dark.
"""

import base64
import time

import httpx2
import pytest

from tests.authenticator import code_at
from tests.browsing import log_in, violations
from tests.stories.provider import PASSWORD

pytestmark = [pytest.mark.slow, pytest.mark.browser]
NAME = "wanda"  # an officer of this story alone: the others work with passwords
AUTHENTICATOR = {
    "protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True,
    "isUserVerified": True, "automaticPresenceSimulation": True,
}  # fmt: skip


def with_authenticator(page):
    """Plug a virtual authenticator of Chromium's into the page."""
    session = page.context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    return session, session.send("WebAuthn.addVirtualAuthenticator", {"options": AUTHENTICATOR})["authenticatorId"]


@pytest.fixture(scope="module")
def page(visit):
    """Logged in with a password, with a passkey set up and its recovery codes shown."""
    page = visit()
    with_authenticator(page)
    log_in(page, NAME, PASSWORD)
    page.wait_for_url("**/admin/")
    page.goto("/admin/second-factor/setup/")
    assert "None yet" in page.inner_text("body")
    page.get_by_role("button", name="Add the passkey").click()
    page.locator("#codes pre").wait_for()
    assert len(page.inner_text("#codes pre").split()) == 10
    return page


def test_a_passkey_opens_the_console_and_a_password_alone_does_not(page, visit):
    page.goto("/admin/second-factor/setup/")
    assert "passkey (passkey or security key)" in page.inner_text("body")
    page.context.clear_cookies()
    log_in(page, NAME, PASSWORD)
    page.wait_for_url("**/admin/second-factor/**")
    page.goto("/admin/ledger/deletionrequest/")
    assert "/admin/second-factor/?next=" in page.url
    assert violations(page) == []
    page.get_by_role("button", name="Use a passkey").click()
    page.wait_for_url("**/admin/ledger/deletionrequest/")
    thief = visit(size="narrow", theme="dark")
    with_authenticator(thief)  # a device of the thief's, which holds no key of this account
    log_in(thief, NAME, PASSWORD)
    thief.wait_for_url("**/admin/second-factor/**")
    thief.get_by_role("button", name="Use a passkey").click()
    thief.locator("[role=alert]:not(:empty)").wait_for()
    thief.goto("/admin/")
    assert "/admin/second-factor/?next=" in thief.url
    assert violations(thief) == []


def test_a_code_of_an_app_opens_it_once(page, visit):
    page.goto("/admin/second-factor/setup/")
    assert violations(page) == []
    secret = base64.b32decode(page.inner_text("#secret"))
    before = int(time.time())
    page.locator("form:has(img) input[name=code]").fill(code_at(secret, before))
    page.get_by_role("button", name="Add the app").click()
    page.get_by_text("The second factor is set up.").wait_for()
    phone = visit(size="narrow", theme="dark")
    log_in(phone, NAME, PASSWORD)
    phone.wait_for_url("**/admin/second-factor/**")
    phone.locator("input[name=code]").fill(code_at(secret, before))  # overheard: it was used for setting up
    phone.locator("input[name=code]").press("Enter")
    phone.get_by_text("every code is good once").wait_for()
    phone.locator("input[name=code]").fill(code_at(secret, before + 30))
    phone.locator("input[name=code]").press("Enter")
    phone.wait_for_url("**/admin/")


def test_programs_go_on_with_a_token(page, provider):
    requests = f"{provider.address}/api/v1/requests"
    refused = httpx2.get(requests, auth=(NAME, PASSWORD))
    assert (refused.status_code, "API token" in refused.json()["detail"]) == (401, True)
    page.goto("/admin/tokens/")
    assert violations(page) == []
    page.locator("input[name=label]").fill("nightly import")
    page.get_by_role("button", name="Make it").click()
    token = page.locator("#token").inner_text()
    assert httpx2.get(requests, headers={"Authorization": f"Bearer {token}"}).status_code == 200
    page.get_by_role("button", name="Revoke nightly import").click()
    page.get_by_text("revoked").wait_for()
    assert httpx2.get(requests, headers={"Authorization": f"Bearer {token}"}).status_code == 401
