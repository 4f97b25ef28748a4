"""A real browser for tests and benchmarks: Debian's Chromium, driven by Playwright, judged by axe-core.

Playwright keeps an event loop in the thread that started it, under which Django refuses to touch the database: so a
browser is opened for one file of tests, or one measurement, and these talk to a server in another process.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
from collections.abc import Iterator
from importlib.resources import files
from typing import Any, Final, Literal

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

MISSING: Final = (
    "Chromium is not installed: `make browser-tools` installs it as root; otherwise install it by hand "
    "(on Debian: apt-get install chromium)"
)
#: Nothing but what the test asks for: no updates, no look-ups of the maker's hosts, no QUIC.
FLAGS: Final = (
    "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
#: WCAG 2.2, levels A and AA, as axe-core numbers its rules.
RULES: Final = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa")
#: Those whose outcome follows from theme and size.
LOOKS: Final = ("color-contrast", "link-in-text-block", "scrollable-region-focusable", "target-size")
SIZES: Final = {"wide": {"width": 1280, "height": 900}, "narrow": {"width": 390, "height": 844}}
_PATIENCE_MS: Final = 15_000
Theme = Literal["light", "dark"]


def chromium() -> str | None:
    """Where Chromium is, None if it is not installed."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


@contextlib.contextmanager
def open_browser() -> Iterator[Browser]:
    """A headless Chromium with a profile of its own. Raises RuntimeError where there is none."""
    path = chromium()
    if path is None:
        raise RuntimeError(MISSING)
    sandbox = os.geteuid() != 0  # Chromium's sandbox refuses to run as root
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS), chromium_sandbox=sandbox)
        try:
            yield browser
        finally:
            browser.close()


def open_context(
    browser: Browser, address: str, size: str = "wide", theme: Theme = "light", **more: Any
) -> BrowserContext:
    """Somebody with a browser of their own: no cookies, a size of `SIZES`, a theme, an address to start from."""
    context = browser.new_context(
        base_url=address, viewport=SIZES[size], color_scheme=theme, locale="en-GB", **more
    )  # type: ignore[arg-type]  # a TypedDict of the same two numbers
    context.set_default_timeout(_PATIENCE_MS)
    return context


def log_in(page: Page, name: str, password: str) -> None:
    """Type both into the console's login page and send it."""
    page.goto("/admin/login/")
    page.locator("input[name=username]").fill(name)
    page.locator("input[name=password]").fill(password)
    page.locator("input[name=password]").press("Enter")


def change_looks(page: Page, size: str, theme: Theme) -> None:
    """Show the open page in another size and theme."""
    page.set_viewport_size(SIZES[size])  # type: ignore[arg-type]  # a TypedDict of the same two numbers
    page.evaluate(f"Alpine.$data(document.documentElement).switchTheme('{theme}')")
    page.locator(f"html.{theme}").wait_for(state="attached")


def overflows(page: Page) -> bool:
    """Whether the page can be scrolled sideways: WCAG 1.4.10 wants it to fit 320 pixels and more."""
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")  # settled
    return bool(page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"))


def violations(page: Page, without: str = "", looks: bool = False) -> list[str]:
    """What axe-core finds wrong on the page as it is now: one line each, the rule, why, and where.

    `without` names a part that was judged before; `looks` asks only for rules about how things look.
    """
    if not page.evaluate("'axe' in window"):
        page.evaluate(_axe())
    rules = {"type": "rule", "values": list(LOOKS)} if looks else {"type": "tag", "values": list(RULES)}
    options = {"runOnly": rules, "resultTypes": ["violations"]}
    where = json.dumps({"exclude": [[without]]}) if without else "document"
    found = page.evaluate(f"() => axe.run({where}, {json.dumps(options)})")["violations"]
    return [
        f"{rule['id']} ({rule['help']}): {' '.join(node['target'])}: {node['failureSummary']}"
        for rule in found
        for node in rule["nodes"]
    ]


@functools.cache
def _axe() -> str:
    return files("axe_playwright_python").joinpath("axe.min.js").read_text()


def require_chromium() -> None:
    """Skip where Chromium is missing and cannot be installed. Root could have: there the tests fail instead."""
    if chromium() is None:
        if os.geteuid() == 0:
            pytest.fail(MISSING)
        pytest.skip(MISSING)
