"""A request's whole way in a real browser, from filing to the report that is handed out; and clients that cheat.

The promises: officers need nothing but the console. Nothing is forgotten on one person's word. Who looks sees the
clients answer without reloading. A client that says it obeyed and did not is caught: its proof does not verify, the
verdict names what failed, to the client and to the officer, and stands in the log for good. It may try again,
honestly; certificate and bundle tell of both. What was done can be proved entry by entry and goes out as a report,
and an auditor sees all of it and changes none of it.
"""

from __future__ import annotations

import base64
import hashlib
import time

import pytest
from playwright.sync_api import Page, expect

from tests.authenticator import code_at
from tests.browsing import log_in
from tests.stories.nursery import await_that
from tests.stories.provider import FORGOTTEN_CLASS, PASSWORD, audit

pytestmark = [pytest.mark.slow, pytest.mark.browser]
REGULATION = "ccpa"  # no other story uses it
SUBJECT = "customer 4711"
AT_ONCE_MS = 60_000  # what workers and clients are given


@pytest.fixture(scope="module")
def clients(provider, officer, model, new_client):
    """One keeps cheating; another shifts one weight by one grid step, is caught, and thinks better of it."""
    officer.patch(f"regulations/{REGULATION}", fourEyes=True)
    stubborn, penitent = new_client(), new_client()
    stubborn.join(provider, officer, "Stubborn clinic")
    penitent.join(provider, officer, "Penitent clinic")
    return stubborn, penitent


@pytest.fixture(scope="module")
def nora(visit):
    """Officer and approver: files, and may approve once."""
    return logged_in(visit(), "nora")


@pytest.fixture(scope="module")
def mina(visit):
    """Approver, with an authenticator app, who has logged in with it."""
    page = logged_in(visit(), "mina")
    page.goto("/admin/second-factor/setup/")
    secret = base64.b32decode(page.inner_text("#secret"))
    now = int(time.time())
    page.locator("#code").fill(code_at(secret, now))
    page.get_by_role("button", name="Add the app").click()
    expect(page.locator("body")).to_contain_text("The second factor is set up.")
    page.context.clear_cookies()
    log_in(page, "mina", PASSWORD)
    page.wait_for_url("**/admin/second-factor/**")
    page.locator("#code").fill(code_at(secret, now + 30))
    page.get_by_role("button", name="Go on").click()
    page.wait_for_url("**/admin/")
    return page


@pytest.fixture(scope="module")
def request_page(nora, clients):
    """Where the request is that Nora has filed, and whose person she has identified."""
    nora.locator("a[href='/admin/ledger/deletionrequest/']").first.click()
    nora.locator("a[href='/admin/ledger/deletionrequest/add/']").first.click()
    nora.locator("select[name=regulation]").select_option(REGULATION)
    nora.locator("input[name=subject]").fill(SUBJECT)
    nora.locator("input[name=data_set]").fill("digits")
    nora.locator("input[name=forget_class]").fill(str(FORGOTTEN_CLASS))
    nora.get_by_role("button", name="Save and view").click()
    says(nora, "was added successfully")
    address = nora.url
    do(nora, "Record an identity check …", "Record an identity check", method="account-login", result="verified")
    says(nora, ": recorded")
    return address


@pytest.fixture(scope="module")
def window_page(nora, mina, request_page):
    """The page of the closed window, which Nora has not left or reloaded since."""
    nora.goto(request_page)
    do(nora, "Open a window for selected requests")
    nora.get_by_role("link", name="window").last.click()
    do(nora, "Close selected windows and start their mask jobs …", "Close the window")
    says(nora, "closed, its mask is being computed")
    nora.evaluate("window.neverLeft = true")
    return nora.url


def logged_in(page: Page, name: str) -> Page:
    log_in(page, name, PASSWORD)
    page.wait_for_url("**/admin/")
    return page


def says(page: Page, words: str) -> None:
    expect(page.locator("#main, body").first).to_contain_text(words)


def do(page: Page, deed: str, confirm: str = "", **answers: str) -> None:
    """Press a button of "What can be done" on a row's page, and fill in what it asks for."""
    page.get_by_role("button", name=deed, exact=True).click()
    for name, value in answers.items():
        page.locator(f"select[name={name}]").select_option(value)
    if confirm:
        page.get_by_role("button", name=confirm, exact=True).click()


def test_one_person_alone_approves_nothing(nora, request_page):
    do(nora, "Approve …", "Approve")
    do(nora, "Approve …", "Approve")
    says(nora, "you have approved request")
    says(nora, "another officer must approve it")
    assert nora.url == request_page
    assert "Approve …" in nora.locator(".console-deeds button").all_inner_texts()  # it is still to be decided


def test_a_second_person_with_a_second_factor_decides(mina, request_page):
    mina.get_by_role("link", name="to decide").click()
    mina.locator("#result_list tbody tr", has_text="CCPA").first.locator("a").first.click()
    assert mina.url.startswith(request_page)
    do(mina, "Approve …", "Approve")
    says(mina, ": approved")
    assert "Approve …" not in mina.locator(".console-deeds button").all_inner_texts()


def test_who_watches_the_window_sees_the_answers_come(nora, clients, window_page):
    """And the agents are told at once which chunks failed."""
    stubborn, penitent = clients
    live = nora.locator("[data-live]")
    expect(live).to_contain_text("2 no answer yet", timeout=AT_ONCE_MS)
    for client, cheat in ((stubborn, "skip"), (penitent, "nudge")):
        told = client.call("run", cheat=cheat, expect=1)
        assert "rejected at log index" in told
        assert "  chunk 0: the proof does not show the prescribed relation" in told
    expect(live).to_contain_text("2 rejected", timeout=AT_ONCE_MS)
    assert "accepted at log index" in penitent.call("run", "--again")
    expect(live).to_contain_text("1 met", timeout=AT_ONCE_MS)
    expect(live).to_contain_text("1 rejected", timeout=AT_ONCE_MS)
    assert nora.url == window_page
    assert nora.evaluate("window.neverLeft") is True


def test_the_cheater_is_named_with_the_reason_in_words(nora, window_page):
    nora.goto("/admin/")
    nora.locator("section", has=nora.locator("#home-rejected")).get_by_role("link", name="Stubborn clinic").click()
    says(nora, "The proof of Stubborn clinic was rejected (attempt 1): the order is not met.")
    says(nora, "chunk 0: the proof does not show the prescribed relation")
    says(nora, "Coverage: full.")


def test_only_an_honest_client_has_a_model_to_deploy(clients, window_page):
    stubborn, penitent = clients
    assert not (stubborn.attempt(1) / "unlearned.safetensors").exists()
    assert not (penitent.attempt(1) / "unlearned.safetensors").exists()
    assert (penitent.attempt(2) / "unlearned.safetensors").exists()


def test_a_watching_agent_does_not_try_again_by_itself(clients, window_page):
    """It would only open the committed columns once more."""
    watch = clients[0].start("watch")
    await_that(lambda: "was rejected; `run --again` makes another one" in watch.text, 60.0, lambda: watch.text)
    watch.kill(15)
    assert watch.wait() == 0
    assert not (clients[0].attempt(1).parent / "2").exists()


def test_the_certificate_is_issued_and_stands_in_the_log(nora, clients, request_page, window_page):
    nora.goto(window_page)
    do(nora, "Certify selected windows …", "Certify the window")
    says(nora, ": certified")
    nora.goto(request_page)
    nora.locator("#main a[href*='/ledger/certificate/']").click()
    nora.locator("#main a[href*='/ledger/logentry/']").first.click()
    for client in clients:
        says(nora, client.handle)
    nora.get_by_role("link", name="Verify inclusion").click()
    verified = nora.locator(".console-good")
    for _ in range(20):  # the next checkpoint is some seconds away
        if verified.count():
            break
        time.sleep(1)
        nora.reload()
    expect(verified).to_contain_text("is a leaf of the signed tree of")


def test_the_report_is_made_and_fetched(nora, window_page):
    nora.goto(window_page)
    nora.get_by_role("link", name="Ask for a report …").click()
    nora.locator("select[name=form]").select_option("pdf")
    nora.get_by_role("button", name="Save", exact=True).click()
    live = nora.locator("[data-live]")
    expect(live).to_contain_text("Ready", timeout=AT_ONCE_MS)
    digest = live.locator("code").inner_text()
    live.get_by_role("button", name="Make a link to the file").first.click()
    with nora.expect_download() as download:
        nora.locator("#main a[href*='/exports/files/']").click()
    file = download.value.path().read_bytes()
    assert file.startswith(b"%PDF")
    assert hashlib.sha256(file).hexdigest() == digest


def test_an_outsider_sees_all_attempts(officer, provider, window_page, tmp_path):
    log_vkey, provider_key = provider.public_keys
    bundle = officer.fetch(f"windows/{window_page.split('/')[-3]}/bundle")
    status, heard = audit(bundle, tmp_path / "bundle.zip", log_vkey=log_vkey, provider_key=provider_key)
    assert status == 0, heard
    assert heard.count("failures, as the log's verdict says") == 2
    assert heard.count(": accepted, as the log's verdict says") == 1


def test_an_auditor_sees_all_of_it_and_changes_nothing(visit, request_page):
    audrey = logged_in(visit(), "audrey")
    audrey.goto(request_page)
    says(audrey, "things are not possible now")
    assert audrey.locator(".console-deeds button").count() == 0
    token = audrey.locator("input[name=csrfmiddlewaretoken]").first.get_attribute("value")
    attack = {"csrfmiddlewaretoken": token, "action": "hold", "_selected_action": request_page.split("/")[-3],
              "confirmed": "yes", "reason": "litigation"}  # fmt: skip
    audrey.request.post("/admin/ledger/deletionrequest/", form=attack, headers={"Referer": audrey.url})
    audrey.goto(request_page)
    assert "under a legal hold" not in audrey.locator(".console-timeline").inner_text()
