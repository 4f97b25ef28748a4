"""The officers' console in a real browser.

The promise: who is no officer gets nowhere and is told why; who is one finds every list, on a telephone too.
"""

from __future__ import annotations

import re

import pytest

from tests.browsing import log_in, violations
from tests.stories.provider import OFFICERS, PASSWORD

pytestmark = [pytest.mark.slow, pytest.mark.browser]


def test_who_is_no_officer_is_told_so(visit):
    page = visit()
    page.goto("/admin/ledger/deletionrequest/")
    assert "/admin/login/?next=" in page.url
    log_in(page, OFFICERS[0], "a guess of somebody else")
    assert "Please enter the correct username and password" in page.inner_text("body")
    page.goto("/admin/ledger/window/")
    assert "/admin/login/?next=" in page.url
    assert violations(page) == []


def test_an_officer_finds_every_list(visit):
    page = visit(size="narrow", theme="dark")
    log_in(page, OFFICERS[0], PASSWORD)
    page.wait_for_url("**/admin/")
    links = page.evaluate("[...document.querySelectorAll('a')].map(one => one.getAttribute('href') ?? '')")
    lists = sorted({link for link in links if re.fullmatch(r"/admin/ledger/\w+/", link)})
    assert len(lists) >= 20
    for address in lists:
        assert page.request.get(address).status == 200, address
