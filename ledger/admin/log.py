"""The log: entries with their statements in plain sight, checkpoints, stored files."""

from __future__ import annotations

import json
from typing import Any

from django.contrib import admin
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from ledger.admin.base import ReadOnlyAdmin
from ledger.models import Blob, Checkpoint, LogEntry
from ledger.statements.dsse import Envelope


class KindFilter(admin.SimpleListFilter):
    """By the predicate's slug."""

    title = _("kind")
    parameter_name = "kind"

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, str]]:
        kinds = LogEntry.objects.order_by("predicate_type").values_list("predicate_type", flat=True).distinct()
        return [(kind, gettext(kind.split(":")[-2])) for kind in kinds]

    def queryset(self, request: Any, queryset: Any) -> Any:
        return queryset.filter(predicate_type=self.value()) if self.value() else queryset


@admin.register(LogEntry)
class LogEntryAdmin(ReadOnlyAdmin):
    list_display = ["index", "kind", "short_hash", "short_signer", "created_at"]
    list_display_links = ["index", "kind"]
    list_filter = [KindFilter, "created_at"]
    search_fields = ["index__exact", "signer", "statement_sha256"]
    search_help_text = _("index, key ID of the signer, or SHA-256 of the statement")
    ordering = ["-index"]
    fields = [
        "index",
        "kind",
        "created_at",
        "signer",
        "hash_hex",
        "statement_sha256",
        "inclusion",
        "statement",
        "covered",
    ]

    @admin.display(description=_("leaf hash"))
    def short_hash(self, row: LogEntry) -> str:
        return f"{bytes(row.leaf_hash).hex()[:16]}…"

    @admin.display(description=_("leaf hash"))
    def hash_hex(self, row: LogEntry) -> str:
        return bytes(row.leaf_hash).hex()

    @admin.display(description=_("signer"), ordering="signer")
    def short_signer(self, row: LogEntry) -> str:
        return f"{row.signer[:16]}…"

    @admin.display(description=_("inclusion"))
    def inclusion(self, row: LogEntry) -> SafeString:
        address = reverse("console:inclusion", args=[row.pk])
        return format_html('<a class="console-button" href="{}">{}</a>', address, _("Verify inclusion"))

    @admin.display(description=_("statement"))
    def statement(self, row: LogEntry) -> SafeString:
        payload = json.loads(Envelope.parse(bytes(row.envelope)).payload)
        return format_html("<pre>{}</pre>", json.dumps(payload, indent=2, ensure_ascii=False))

    @admin.display(description=_("first checkpoint"))
    def covered(self, row: LogEntry) -> str:
        head = Checkpoint.objects.filter(size__gt=row.index).order_by("size").first()
        if head is None:
            return gettext("none yet")
        when = f"{head.created_at:%Y-%m-%d %H:%M:%S} UTC"
        return gettext("size %(size)d, %(when)s") % {"size": head.size, "when": when}

    @admin.display(description=_("kind"), ordering="predicate_type")
    def kind(self, row: LogEntry) -> str:
        return gettext(row.kind)


@admin.register(Checkpoint)
class CheckpointAdmin(ReadOnlyAdmin):
    list_display = ["size", "root_hex", "created_at"]
    list_filter = ["created_at"]
    ordering = ["-size"]
    fields = ["size", "root_hex", "signed_note", "created_at"]

    @admin.display(description=_("root"))
    def root_hex(self, row: Checkpoint) -> str:
        return bytes(row.root).hex()

    @admin.display(description=_("note"))
    def signed_note(self, row: Checkpoint) -> SafeString:
        return format_html("<pre>{}</pre>", row.note)


@admin.register(Blob)
class BlobAdmin(ReadOnlyAdmin):
    list_display = ["sha256", "size", "owner_name", "created_at"]
    list_filter = [("owner", admin.EmptyFieldListFilter)]
    list_select_related = ["owner"]
    search_fields = ["sha256", "owner__name"]

    @admin.display(description=_("owner"), ordering="owner")
    def owner_name(self, row: Blob) -> str:
        return gettext("provider") if row.owner is None else row.owner.name
