"""The console's site: Django's admin in its theme, and lists all tables only where that list is read.

Its pages are half of what there is to load, and only web servers show them: `ledger.urls` loads them, so that
workers and most commands start in half the time.
"""

from __future__ import annotations

from typing import Any

from django.contrib.admin import autodiscover
from django.contrib.admin.apps import SimpleAdminConfig
from django.contrib.admin.checks import check_admin_app, check_dependencies
from django.core.checks import CheckMessage, Tags, register
from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject
from unfold.sites import UnfoldAdminSite


class ConsoleSite(UnfoldAdminSite):
    """Every page is given the list of all tables with what the account may do. Few read it."""

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> Any:
        """Django's list, made when it is read."""
        found = super().get_app_list
        return SimpleLazyObject(lambda: found(request, app_label))


def check_pages(**given: Any) -> list[CheckMessage]:
    """Django's own check of the admin's pages, which must be there for it. Checks run in any order."""
    autodiscover()
    return list(check_admin_app(**given))


class ConsoleConfig(SimpleAdminConfig):
    """Django's admin with our site; the theme's own configuration would put another one in its place."""

    default_site = "ledger.site.ConsoleSite"

    def ready(self) -> None:
        """As Django's, but that no page is loaded yet."""
        register(check_dependencies, Tags.admin)
        register(check_pages, Tags.admin)
