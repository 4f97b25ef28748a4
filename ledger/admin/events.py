"""What happened, newest first."""

from __future__ import annotations

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from ledger.admin.base import ReadOnlyAdmin, entry_link
from ledger.models import Event


@admin.register(Event)
class EventAdmin(ReadOnlyAdmin):
    list_display = ["id", "kind", "created_at", "actor_name", "request", "window", "order", "client", "logged"]
    list_filter = ["kind", "actor_kind", "created_at"]
    search_fields = ["=request", "=window", "=order", "=client", "=model", "actor_name"]
    ordering = ["-id"]

    logged = entry_link("entry", _("log entry"))
