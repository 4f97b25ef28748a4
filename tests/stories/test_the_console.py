"""The officers' console in a real browser.

The promise: who is no officer gets nowhere and is told why.
"""

from __future__ import annotations

import pytest

from tests.browsing import log_in, violations
from tests.stories.provider import OFFICERS

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
