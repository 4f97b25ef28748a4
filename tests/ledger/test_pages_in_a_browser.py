"""Every page of the console in a real browser, judged by axe-core: wide and light, then narrow and dark.

Pages are found in the console's URL patterns: a new one is judged, or named below as no page, or the test fails.
The server runs in a thread of this process, over the tables of the test: they are filled before the browser opens.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import User
from django.test import Client as Session
from django.test import RequestFactory
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from PIL import Image
from playwright.sync_api import Page

from ledger import log
from ledger.access import rates
from ledger.admin import figures
from tests.browsing import (
    SIZES,
    change_looks,
    open_browser,
    open_context,
    overflows,
    require_chromium,
    violations,
)
from tests.ledger import every_kind
from tests.ledger.story import Story

pytestmark = [pytest.mark.slow, pytest.mark.browser, pytest.mark.django_db(transaction=True)]
NAME = "boss"
#: Addresses that answer with something else than a page, by the end of their names.
NO_PAGES = (
    "_csv", "_delete", "jsi18n", "autocomplete", "view_on_site", "logout", "search", "console:progress",
    "console:views", "second-factor-passkey", "admin:None", "admin:login",
)  # fmt: skip


@pytest.fixture
def pages(story: Story) -> list[str]:
    """The address of every page of a story with a row of every kind."""
    every_kind.tell(story)
    log.publish_checkpoint()
    User.objects.create_superuser(NAME)
    return addresses()


@pytest.fixture
def page(pages: list[str], live_server: Any) -> Iterator[Page]:
    """Somebody who may see every page."""
    require_chromium()
    cookie = cookie_of(NAME, live_server.url)
    with open_browser() as browser:
        context = open_context(browser, live_server.url)
        context.add_cookies([cookie])
        yield context.new_page()


def cookie_of(name: str, address: str) -> Any:
    """What a browser has when that account has logged in."""
    session = Session(SERVER_NAME="localhost")
    session.force_login(User.objects.get(username=name))
    return {"name": "sessionid", "value": session.cookies["sessionid"].value, "url": address}


def console_patterns(resolver: Any, prefix: str = "", space: str = "") -> Iterator[tuple[str, str]]:
    """Route and name of every address below /admin/."""
    for one in resolver.url_patterns:
        route = prefix + str(one.pattern)
        if isinstance(one, URLResolver):
            yield from console_patterns(one, route, f"{one.namespace}:" if one.namespace else space)
        elif isinstance(one, URLPattern) and route.startswith("admin/"):
            yield route, f"{space}{one.name}"


def addresses() -> list[str]:
    """One address for every pattern that is a page; those of rows lead to some row."""
    found = {
        reverse(name, kwargs=dict(arguments(route, name)))
        for route, name in console_patterns(get_resolver())
        if not name.endswith(NO_PAGES) and opens(name)
    }
    return sorted(found)


def opens(name: str) -> bool:
    """Whether somebody may: nobody adds what the workflow makes. Histories are one page, whatever of."""
    app, model, what, *_ = [*name.removeprefix("admin:").split("_"), "", ""]
    if what == "history":
        return model == "user"
    request = RequestFactory().get("/")
    request.user = User.objects.get(username=NAME)
    return what != "add" or admin.site.get_model_admin(apps.get_model(app, model)).has_add_permission(request)


def arguments(route: str, name: str) -> Iterator[tuple[str, object]]:
    for argument in re.findall(r"[<:](\w+)>", route):
        if argument == "app_label":
            yield argument, "ledger"
        elif argument == "index":
            yield argument, 1
        else:
            app, model = name.removeprefix("admin:").split("_")[:2]
            yield argument, apps.get_model(app, model).objects.order_by("pk")[0].pk


def test_every_page_is_for_everybody(page: Page, pages: list[str]) -> None:
    """By the rules of WCAG 2.2 AA that axe knows; and nothing is wider than a telephone."""
    wrong = []
    for address in pages:
        answer = page.goto(address)
        assert answer is not None
        assert answer.status == 200, address
        known = "#nav-sidebar" if wrong or address != pages[0] else ""  # the same on every page
        wrong += [f"{address}: {problem}" for problem in violations(page, without=known)]
        change_looks(page, "narrow", "dark")
        wrong += [f"{address} (narrow, dark): {problem}" for problem in violations(page, without=known, looks=True)]
        wrong += [f"{address} is wider than a telephone"] * overflows(page)
        change_looks(page, "wide", "light")
    assert wrong == []


def test_refusals_are_for_everybody_too(live_server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is shown where no page is: in the console's frame, and without it where the database may be away."""
    require_chromium()
    User.objects.create_superuser(NAME)
    User.objects.create_user("nobody", is_staff=True)
    cookies = {name: cookie_of(name, live_server.url) for name in (NAME, "nobody")}
    while rates.spend("account", NAME) is None:
        pass
    monkeypatch.setattr(figures, "_due", None)  # whoever asks for figures meets a failure
    add, gone, login = reverse("admin:ledger_policy_add"), "/admin/ledger/nothing/", reverse("admin:login")
    wrong = []
    with open_browser() as browser:
        for who, address, status, words in (
            ("nobody", add, 403, "Your account may not do this"),
            ("nobody", gone, 404, "There is no such page"),
            (NAME, reverse("console:figures"), 500, "The server has failed at this"),
            (None, login, 403, "This form is not valid any more"),
            (None, login, 200, "Too many wrong passwords"),
        ):
            with open_context(browser, live_server.url) as context:
                context.add_cookies([cookies[who]] if who else [])
                page = context.new_page()
                answer = page.goto(address)
                if address == login:
                    page.locator("input[name=username]").fill(NAME)
                    page.locator("input[name=password]").fill("wrong")
                    if status == 403:
                        context.clear_cookies()
                    with page.expect_navigation() as sent:
                        page.locator("input[name=password]").press("Enter")
                    answer = sent.value
                assert answer is not None
                assert (answer.status, words in page.inner_text("body")) == (status, True), address
                wrong += [f"{status} {address}: {problem}" for problem in violations(page)]
                if page.evaluate("'Alpine' in window"):
                    change_looks(page, "narrow", "dark")
                else:  # a page that does without the theme
                    page.set_viewport_size(SIZES["narrow"])  # type: ignore[arg-type]  # a TypedDict of these
                    page.emulate_media(color_scheme="dark")
                assert dark(page), address
                wrong += [f"{status} {address} (dark): {problem}" for problem in violations(page, looks=True)]
                wrong += [f"{status} {address} is wider than a telephone"] * overflows(page)
    assert wrong == []


def dark(page: Page) -> bool:
    """Whether most of what is seen is: the mean of all points is nearer to black than to white."""
    seen = Image.open(io.BytesIO(page.screenshot())).convert("L").resize((1, 1), Image.Resampling.BOX)
    return bool(seen.getpixel((0, 0)) < 128)


def test_everything_can_be_done_by_keyboard(page: Page) -> None:
    """Skip link, visible focus, menus and filters that open, close, and give the focus back."""
    page.goto(reverse("admin:ledger_deletionrequest_changelist"))
    page.keyboard.press("Tab")
    assert focused(page, "textContent").strip() == "Skip to the content"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('#content') !== null")
    opener = page.get_by_role("button", name="Filters")
    opener.focus()
    page.keyboard.press("Enter")
    sheet = page.get_by_role("dialog", name="Filters")
    sheet.wait_for()
    page.wait_for_function("document.activeElement.closest('[role=dialog]') !== null")
    for _ in range(60):  # round and round
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('[role=dialog]') !== null")
    page.keyboard.press("Escape")
    sheet.wait_for(state="hidden")
    page.wait_for_function("document.activeElement.textContent.includes('Filters')")
    account = page.get_by_role("button", name=NAME)
    account.focus()
    page.keyboard.press("Space")
    page.get_by_role("link", name="Change password").wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("link", name="Change password").wait_for(state="hidden")


def test_the_focus_is_seen_and_icons_are_not_heard(page: Page) -> None:
    page.goto(reverse("admin:ledger_deletionrequest_changelist"))
    page.keyboard.press("Tab")
    for stop in range(50):
        page.keyboard.press("Tab")
        assert page.evaluate(SEEN), f"stop {stop}: {focused(page, 'outerHTML')[:300]}"
    assert page.get_by_role("link", name="Requests", exact=True).count() == 1


def focused(page: Page, member: str) -> str:
    return str(page.evaluate(f"document.activeElement.{member}"))


#: Whether the focused element looks otherwise than without focus: an outline or a ring.
SEEN = """() => {
  const shown = getComputedStyle(document.activeElement);
  const near = getComputedStyle(document.activeElement.parentElement);
  const outlined = (one) => one.outlineStyle !== 'none' && parseFloat(one.outlineWidth) > 0;
  return outlined(shown) || outlined(near) || shown.boxShadow !== 'none';
}"""
