"""Orders: who has answered, who is reminded, who is excepted; and clients that get no more of them."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.admin import TabularInline

from ledger.admin import plain_words, progress
from ledger.admin.base import ReadOnlyAdmin, ask_each, each, entry_link, link, many
from ledger.admin.widgets import reason_form
from ledger.models import Order, OrderNotice, Suspension
from ledger.workflow.actors import officer
from ledger.workflow.orders import except_order
from ledger.workflow.silence import escalated, remind
from ledger.workflow.suspension import reinstate_client, suspend_client


class EscalatedFilter(admin.SimpleListFilter):
    """What officers should look into."""

    title = _("escalated")
    parameter_name = "escalated"

    def lookups(self, _request: HttpRequest, _page: Any) -> list[tuple[str, str]]:
        return [("yes", gettext("escalated"))]

    def queryset(self, _request: HttpRequest, rows: QuerySet[Order]) -> QuerySet[Order]:
        return rows.filter(escalated()) if self.value() == "yes" else rows


class NoticeInline(TabularInline):
    model = OrderNotice
    fields = ["key", "created_at"]
    readonly_fields = ["key", "created_at"]
    extra = 0
    can_delete = False
    verbose_name_plural = _("steps that were taken")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Order)
class OrderAdmin(ReadOnlyAdmin):
    tells = live = True
    list_display = [
        "short",
        "client",
        "window_link",
        "state",
        "attempt",
        "covers",
        "due_at",
        "objection",
        "logged",
    ]
    list_filter = ["state", EscalatedFilter, "due_at", "objection__reason", "window"]
    search_fields = ["uuid", "client_model__client__name", "window__uuid"]
    list_select_related = ["client_model__client", "window__model", "objection"]
    inlines = [NoticeInline]
    actions = ["remind", "release", "suspend", "reinstate"]
    # The secret of a draw is nobody's business before the challenge discloses it.
    fields = [
        "uuid", "client", "window_link", "state", "attempt", "covers", "due_at", "objection", "exception_reason",
        "excepted", "logged",
    ]  # fmt: skip
    logged = entry_link("entry", _("log entry"))
    excepted = entry_link("exception_entry", _("exception"))

    def beside(self, request: HttpRequest, row: Order) -> dict[str, Any]:
        more = {"plain_words": plain_words.latest(row), "progress": progress.of_order(row)}
        return super().beside(request, row) | more

    @admin.display(description=_("order"), ordering="uuid")
    def short(self, row: Order) -> str:
        return str(row.uuid)[:8]

    @admin.display(description=_("client"), ordering="client_model__client__name")
    def client(self, row: Order) -> str:
        return link(row.client_model.client)

    @admin.display(description=_("coverage"), ordering="coverage")
    def covers(self, row: Order) -> str:
        return gettext(row.coverage)

    @admin.display(description=_("window"))
    def window_link(self, row: Order) -> str:
        return link(row.window)

    @admin.action(description=_("Remind the clients of selected orders"), permissions=["decide"])
    def remind(self, request: HttpRequest, rows: QuerySet[Order]) -> HttpResponse | None:
        way = many(self, request, rows, "remind", {})
        if way is not None:
            return way
        actor = officer(request.user)
        each(request, rows, lambda row: remind(row.pk, actor=actor), _("reminded"))
        return None

    @admin.action(description=_("Except selected orders …"), permissions=["decide"])
    def release(self, request: HttpRequest, rows: QuerySet[Order]) -> HttpResponse | None:
        actor = officer(request.user)
        return ask_each(
            self, request, rows, "release", reason_form("exception"), _("Except the order"), _("excepted"),
            lambda row, v: except_order(row.pk, v["reason"], actor=actor),
            _("The client is released from it; certificates will list it as excepted. This cannot "
"be taken back."),
        )  # fmt: skip

    @admin.action(description=_("Suspend the clients of selected orders …"), permissions=["suspend"])
    def suspend(self, request: HttpRequest, rows: QuerySet[Order]) -> HttpResponse | None:
        actor = officer(request.user)
        return ask_each(
            self, request, rows, "suspend", reason_form("suspension"), _("Suspend the client"), _("suspended"),
            lambda row, v: suspend_client(row.client_model.client_id, v["reason"], actor=actor),
            _("It gets no more orders, and the certificates of that time name it."),
        )  # fmt: skip

    @admin.action(description=_("Reinstate the clients of selected orders …"), permissions=["suspend"])
    def reinstate(self, request: HttpRequest, rows: QuerySet[Order]) -> HttpResponse | None:
        actor = officer(request.user)
        return ask_each(
            self, request, rows, "reinstate", reason_form("reinstatement"),
            _("Reinstate the client"), _("reinstated"),
            lambda row, v: reinstate_client(row.client_model.client_id, v["reason"], actor=actor),
        )  # fmt: skip

    def has_decide_permission(self, request: Any) -> bool:
        return bool(request.user.has_perm("ledger.change_order"))

    def has_suspend_permission(self, request: Any) -> bool:
        return bool(request.user.has_perm("ledger.change_client"))


@admin.register(Suspension)
class SuspensionAdmin(ReadOnlyAdmin):
    list_display = ["client", "reason", "since", "until", "lift_reason"]
    list_filter = ["reason", ("lifted_entry", admin.EmptyFieldListFilter)]
    search_fields = ["client__name", "client__uuid"]
    list_select_related = ["client"]
    fields = ["client", "order", "reason", "since", "until", "lift_reason"]
    actions = ["reinstate"]
    since = entry_link("set_entry", _("since"))
    until = entry_link("lifted_entry", _("until"))

    @admin.action(description=_("Reinstate selected clients …"), permissions=["decide"])
    def reinstate(self, request: HttpRequest, rows: QuerySet[Suspension]) -> HttpResponse | None:
        actor = officer(request.user)
        return ask_each(
            self, request, rows, "reinstate", reason_form("reinstatement"),
            _("Reinstate the client"), _("reinstated"),
            lambda row, v: reinstate_client(row.client_id, v["reason"], actor=actor),
        )  # fmt: skip

    def has_decide_permission(self, request: Any) -> bool:
        return bool(request.user.has_perm("ledger.change_client"))
