"""The officers' pages: Django's admin. What is logged is read-only; actions go through the workflow."""

from __future__ import annotations

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from ledger.admin import (
    access_pages,
    accounts,
    bulk,
    checks,
    clients,
    events,
    exports,
    intake,
    jobs,
    log,
    orders,
    parties,
    policies,
    proofs,
    requests,
    webhooks,
    windows,
    witnesses,
)

__all__ = [
    "access_pages", "accounts", "bulk", "checks", "clients", "events", "exports", "intake", "jobs", "log", "orders",
    "parties", "policies", "proofs", "requests", "webhooks", "windows", "witnesses",
]  # fmt: skip

admin.site.index_title = _("What needs you today")
admin.site.login_form = access_pages.LoginForm
