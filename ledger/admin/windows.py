"""Windows and their orders: opened from the requests' list, closed and certified here."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest

from ledger.admin.base import ReadOnlyAdmin, each, entry_link, link
from ledger.models import Order, Window
from ledger.workflow.actors import officer
from ledger.workflow.certificates import certify
from ledger.workflow.windows import close_window


class OrderInline(admin.TabularInline):
    model = Order
    fields = ["uuid", "client_model", "state", "attempt", "due_at", "entry"]
    readonly_fields = ["uuid", "client_model", "state", "attempt", "due_at", "entry"]
    extra = 0
    can_delete = False
    show_change_link = True

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Window)
class WindowAdmin(ReadOnlyAdmin):
    list_display = [
        "uuid",
        "model",
        "state",
        "requests_count",
        "orders_met",
        "masked",
        "closed",
        "mask",
        "created_at",
    ]
    list_filter = ["state", "model", "created_at"]
    search_fields = ["uuid", "mask_sha256", "requests__uuid"]
    list_select_related = ["model", "closed_entry", "mask_entry"]
    inlines = [OrderInline]
    actions = ["close", "certify"]
    fields = ["uuid", "model", "state", "mask_config", "mask_sha256", "masked", "closed", "mask", "created_at"]
    closed = entry_link("closed_entry", "closed")
    mask = entry_link("mask_entry", "mask")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Window]:
        met = Count("orders", filter=Q(orders__state=Order.State.MET), distinct=True)
        counts = {"asked": Count("requests", distinct=True), "all": Count("orders", distinct=True), "met": met}
        return super().get_queryset(request).annotate(**counts)

    @admin.display(description="requests", ordering="asked")
    def requests_count(self, row: Any) -> int:
        return int(row.asked)

    @admin.display(description="orders met", ordering="met")
    def orders_met(self, row: Any) -> str:
        return f"{row.met} of {row.all}"

    @admin.action(description="Close selected windows and start their mask jobs", permissions=["decide"])
    def close(self, request: HttpRequest, rows: QuerySet[Window]) -> None:
        actor = officer(request.user)
        each(request, rows, lambda row: close_window(row.pk, actor=actor), "closed, its mask is being computed")

    @admin.action(description="Certify selected windows", permissions=["decide"])
    def certify(self, request: HttpRequest, rows: QuerySet[Window]) -> None:
        each(request, rows, lambda row: certify(row.pk), "certified")

    def has_decide_permission(self, request: Any) -> bool:
        return bool(request.user.has_perm("ledger.change_window"))


@admin.register(Order)
class OrderAdmin(ReadOnlyAdmin):
    list_display = ["uuid", "client", "window_link", "state", "attempt", "due_at", "objection", "logged"]
    list_filter = ["state", "due_at", "objection__reason", "window"]
    search_fields = ["uuid", "client_model__client__name", "window__uuid"]
    list_select_related = ["client_model__client", "window__model", "entry", "objection"]
    logged = entry_link("entry", "log entry")

    @admin.display(description="client", ordering="client_model__client__name")
    def client(self, row: Order) -> str:
        return link(row.client_model.client)

    @admin.display(description="window")
    def window_link(self, row: Order) -> str:
        return link(row.window)
