"""The console's site: Django's admin in its theme, and lists all tables only where that list is read."""

from __future__ import annotations

from typing import Any

from django.contrib.admin.apps import AdminConfig
from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject
from unfold.sites import UnfoldAdminSite


class ConsoleSite(UnfoldAdminSite):
    """Every page is given the list of all tables with what the account may do. Few read it."""

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> Any:
        """Django's list, made when it is read."""
        found = super().get_app_list
        return SimpleLazyObject(lambda: found(request, app_label))


class ConsoleConfig(AdminConfig):
    """Django's admin with our site; the theme's own configuration would put another one in its place."""

    default_site = "ledger.site.ConsoleSite"
