"""A real browser for tests and benchmarks: Debian's Chromium, driven by Playwright, judged by axe-core.

Playwright keeps an event loop in the thread that started it, under which Django refuses to touch the database: so a
browser is opened for one file of tests, or one measurement, and these talk to a server in another process.
"""

from __future__ import annotations

import contextlib
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
SIZES: Final = {"wide": {"width": 1280, "height": 900}, "narrow": {"width": 390, "height": 844}}
_PATIENCE_MS: Final = 15_000
_AXE: Final = files("axe_playwright_python").joinpath("axe.min.js")
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


def violations(page: Page) -> list[str]:
    """What axe-core finds wrong on the page as it is now: one line each, the rule, why, and where."""
    page.evaluate(_AXE.read_text())
    options = {"runOnly": {"type": "tag", "values": list(RULES)}, "resultTypes": ["violations"]}
    found = page.evaluate(f"() => axe.run(document, {json.dumps(options)})")["violations"]
    return [
        f"{rule['id']} ({rule['help']}): {' '.join(node['target'])}: {node['failureSummary']}"
        for rule in found
        for node in rule["nodes"]
    ]


def require_chromium() -> None:
    """Skip where Chromium is missing and cannot be installed. Root could have: there the tests fail instead."""
    if chromium() is None:
        if os.geteuid() == 0:
            pytest.fail(MISSING)
        pytest.skip(MISSING)
