"""Who is told of events, and what came of it. Endpoints are added over the REST interface: it shows the secret."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from ledger.admin.base import ReadOnlyAdmin, each
from ledger.models import WebhookDelivery, WebhookEndpoint
from ledger.workflow import webhooks
from ledger.workflow.actors import officer


@admin.register(WebhookEndpoint)
class WebhookEndpointAdmin(ReadOnlyAdmin):
    list_display = ["url", "client", "kinds", "failing_since", "disabled_at", "created_at"]
    list_filter = ["disabled_at"]
    search_fields = ["url", "=uuid"]
    exclude = ["secret"]
    actions = ["test", "enable", "remove"]

    @admin.action(description=_("Send a test to selected endpoints"), permissions=["act"])
    def test(self, request: HttpRequest, rows: QuerySet[WebhookEndpoint]) -> None:
        each(request, rows, webhooks.send_test, _("a test will be sent"))

    @admin.action(description=_("Try selected disabled endpoints again"), permissions=["act"])
    def enable(self, request: HttpRequest, rows: QuerySet[WebhookEndpoint]) -> None:
        actor = officer(request.user)
        each(request, rows, lambda row: webhooks.enable(row, actor=actor), _("enabled"))

    @admin.action(description=_("Remove selected endpoints"), permissions=["act"])
    def remove(self, request: HttpRequest, rows: QuerySet[WebhookEndpoint]) -> None:
        actor = officer(request.user)
        each(request, rows, lambda row: webhooks.remove_endpoint(row, actor=actor), _("removed"))

    def has_act_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("ledger.change_webhookendpoint")


@admin.register(WebhookDelivery)
class WebhookDeliveryAdmin(ReadOnlyAdmin):
    list_display = ["created_at", "kind", "url", "state", "attempts", "status", "seconds", "error"]
    list_filter = ["state", "kind", "created_at"]
    search_fields = ["url", "=uuid", "error"]
    actions = ["replay"]

    @admin.action(description=_("Send selected deliveries again"), permissions=["replay"])
    def replay(self, request: HttpRequest, rows: QuerySet[WebhookDelivery]) -> None:
        each(request, rows, webhooks.replay, _("will be sent again"))

    def has_replay_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("ledger.change_webhookendpoint")
