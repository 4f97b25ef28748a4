"""Windows and their orders: opened from the requests' list, closed and certified here."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html_join
from django.utils.safestring import mark_safe
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.admin import TabularInline

from ledger.access import scope, session
from ledger.admin import progress
from ledger.admin.base import ReadOnlyAdmin, ask_each, entry_link, link
from ledger.models import DeletionRequest, Order, Window
from ledger.workflow.actors import officer
from ledger.workflow.certificates import certify
from ledger.workflow.errors import WorkflowError
from ledger.workflow.membership import add_requests, discard_window, remove_requests
from ledger.workflow.windows import close_window


class RequestsForm(forms.Form):
    """Which requests."""

    requests = forms.CharField(widget=forms.Textarea(attrs={"rows": 4}), help_text=_("their UUIDs, one per line"))


class OrderInline(TabularInline):
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
    tells = live = True
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
    list_select_related = ["model"]
    inlines = [OrderInline]
    actions = ["put", "take", "discard", "close", "certify"]
    fields = [
        "uuid", "model", "state", "request_links", "policy", "mask_config", "mask_sha256", "masked", "closed",
        "mask", "created_at",
    ]  # fmt: skip
    closed = entry_link("closed_entry", _("closed"))
    mask = entry_link("mask_entry", _("mask"))

    def get_queryset(self, request: HttpRequest) -> QuerySet[Window]:
        met = Count("orders", filter=Q(orders__state=Order.State.MET), distinct=True)
        counts = {"asked": Count("requests", distinct=True), "all": Count("orders", distinct=True), "met": met}
        return super().get_queryset(request).annotate(**counts)

    def beside(self, request: HttpRequest, row: Window) -> dict[str, Any]:
        return super().beside(request, row) | {"progress": progress.of_window(row)}

    @admin.display(description=_("requests"), ordering="asked")
    def requests_count(self, row: Any) -> int:
        return int(row.asked)

    @admin.display(description=_("orders met"), ordering="met")
    def orders_met(self, row: Any) -> str:
        return gettext("%(met)d of %(all)d") % {"met": row.met, "all": row.all}

    @admin.display(description=_("requests"))
    def request_links(self, row: Window) -> str:
        rows = row.requests.order_by("filed_entry")
        return format_html_join(mark_safe("<br>"), "{}", ((link(one),) for one in rows)) or "–"

    @admin.action(description=_("Put requests into open windows …"), permissions=["decide"])
    def put(self, request: HttpRequest, rows: QuerySet[Window]) -> HttpResponse | None:
        actor = officer(request.user)
        return ask_each(
            self, request, rows, "put", RequestsForm, _("Put requests into the window"), _("changed"),
            lambda row, v: add_requests(row.pk, _seen(request, v["requests"].split()), actor=actor),
        )  # fmt: skip

    @admin.action(description=_("Take requests out of open windows …"), permissions=["decide"])
    def take(self, request: HttpRequest, rows: QuerySet[Window]) -> HttpResponse | None:
        actor = officer(request.user)
        return ask_each(
            self, request, rows, "take", RequestsForm, _("Take requests out of the window"), _("changed"),
            lambda row, v: remove_requests(row.pk, v["requests"].split(), actor=actor),
        )  # fmt: skip

    @admin.action(description=_("Discard open windows …"), permissions=["decide"])
    def discard(self, request: HttpRequest, rows: QuerySet[Window]) -> HttpResponse | None:
        actor = officer(request.user)
        return ask_each(
            self, request, rows, "discard", forms.Form,
            _("Discard the window"), _("discarded, its requests are free"),
            lambda row, _: discard_window(row.pk, actor=actor),
            _("Nothing of it stays; its requests are free again."),
        )  # fmt: skip

    @admin.action(description=_("Close selected windows and start their mask jobs …"), permissions=["decide"])
    def close(self, request: HttpRequest, rows: QuerySet[Window]) -> HttpResponse | None:
        way = session.prove(request, request.get_full_path())
        if way is not None:
            return way
        actor = officer(request.user)
        return ask_each(
            self, request, rows, "close", forms.Form,
            _("Close the window"), _("closed, its mask is being computed"),
            lambda row, _: close_window(row.pk, actor=actor),
            _("Its requests and its policy go into the log; no window is ever opened again."),
        )  # fmt: skip

    @admin.action(description=_("Certify selected windows …"), permissions=["decide"])
    def certify(self, request: HttpRequest, rows: QuerySet[Window]) -> HttpResponse | None:
        actor = officer(request.user)
        return ask_each(
            self, request, rows, "certify", forms.Form,
            _("Certify the window"), _("certified"),
            lambda row, _: certify(row.pk, actor=actor),
            _("A certificate for each of its requests goes into the log and stays there; it names the clients "
"that have not complied. When one of them does later, a new certificate brings this one up to date."),
        )  # fmt: skip

    def has_decide_permission(self, request: Any) -> bool:
        return bool(request.user.has_perm("ledger.change_window"))


def _seen(request: HttpRequest, names: list[str]) -> list[str]:
    """The requests named, refused if one of them is not the account's business."""
    if not scope.sees_all(request.user, DeletionRequest, names):
        raise WorkflowError(
            "not-found", gettext("one of these requests is not among the models of this account"), 404
        )
    return names
