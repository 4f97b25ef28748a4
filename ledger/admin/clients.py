"""Clients and their keys: invited, given tokens, re-enrolled, retired."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.admin import TabularInline

from ledger.admin.base import (
    AddByUseCase,
    ReadOnlyAdmin,
    UseCaseForm,
    ask_each,
    entry_link,
    link,
)
from ledger.admin.widgets import reason_form
from ledger.models import Client, ClientKey
from ledger.workflow import client_keys, clients
from ledger.workflow.actors import officer


class InvitationForm(UseCaseForm):
    """Only a name; the workflow makes the rest."""

    name = forms.CharField(max_length=200)

    class Meta:
        model = Client
        fields: list[str] = []

    def carry_out(self, values: dict[str, Any]) -> Client:
        client, self.token = clients.invite_client(values["name"], actor=self.actor)
        return client


class StateFilter(admin.SimpleListFilter):
    """By what may be expected of a client."""

    title = _("state")
    parameter_name = "state"

    def lookups(self, *_args: Any) -> list[tuple[str, str]]:
        return [(value, gettext(label)) for value, label in Client.State.choices]

    def queryset(self, _request: HttpRequest, rows: Any) -> Any:
        state = self.value()
        return rows if state is None else rows.in_state(Client.State(state), timezone.now())


class KeyInline(TabularInline):
    """A client's keys, on its page."""

    model = ClientKey
    fields = readonly_fields = ("keyid", "label", "enrolled_entry", "revoked_entry")
    extra = 0
    can_delete = False
    show_change_link = True

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Client)
class ClientAdmin(AddByUseCase):
    tells = True
    use_case_form = InvitationForm
    list_display = ["name", "uuid", "state", "valid_keys", "enrolled", "invited_at"]
    search_fields = ["name", "uuid", "keys__keyid"]
    list_filter = [StateFilter, "invited_at"]
    fields = ("name", "uuid", "state", "enrolled", "retired", "invited_at", "token_expires_at", "token_used_at")
    actions = ["reissue", "reenrol", "retire"]
    enrolled = entry_link("enrolled_entry", _("enrolled"))
    retired = entry_link("retired_entry", _("retired"))

    def get_queryset(self, request: HttpRequest) -> QuerySet[Client]:
        return super().get_queryset(request).prefetch_related("keys")

    def get_inlines(self, request: HttpRequest, obj: Any) -> Any:
        return [] if obj is None else [KeyInline]

    @admin.display(description=_("state"))
    def state(self, row: Client) -> str:
        return gettext(row.state_at(timezone.now()).label)

    @admin.display(description=_("valid keys"))
    def valid_keys(self, row: Client) -> int:
        return sum(key.revoked_entry_id is None for key in row.keys.all())

    def save_model(self, request: HttpRequest, obj: Client, form: Any, change: bool) -> None:
        _show_token(request, obj, form.token)

    @admin.action(description=_("Issue another enrolment token"), permissions=["change_client"])
    def reissue(self, request: HttpRequest, rows: QuerySet[Client]) -> HttpResponse | None:
        return ask_each(
            self, request, rows, "reissue", forms.Form, _("Issue another token"), _("a new token was made"),
            _with_token(request, lambda row, _: clients.reissue_token(row.pk, actor=officer(request.user))),
            _("Earlier tokens of these clients are void from then on. The new one is shown once."),
        )  # fmt: skip

    @admin.action(description=_("Re-enrol: revoke all keys, issue a token"), permissions=["change_client"])
    def reenrol(self, request: HttpRequest, rows: QuerySet[Client]) -> HttpResponse | None:
        return ask_each(
            self, request, rows, "reenrol", reason_form("key"),
            _("Revoke all keys, issue a token"), _("all keys were revoked"),
            _with_token(
                request,
                lambda row, values: clients.reenrol_client(row.pk, values["reason"], actor=officer(request.user)),
            ),
            _("All keys of these clients are revoked in the log. Make sure by other means that the "
"client asks."),
        )  # fmt: skip

    @admin.action(description=_("Retire for good"), permissions=["change_client"])
    def retire(self, request: HttpRequest, rows: QuerySet[Client]) -> HttpResponse | None:
        return ask_each(
            self, request, rows, "retire", forms.Form, _("Retire for good"), _("retired"),
            lambda row, _: clients.retire_client(row.pk, actor=officer(request.user)),
            _("Their keys end, their models get no more orders, and they cannot enrol again."),
        )  # fmt: skip

    def has_change_client_permission(self, request: Any) -> bool:
        return bool(request.user.has_perm("ledger.change_client"))


@admin.register(ClientKey)
class ClientKeyAdmin(ReadOnlyAdmin):
    list_display = ["short", "client_link", "label", "since", "revoked"]
    search_fields = ["keyid", "client__name", "client__uuid"]
    list_filter = [("revoked_entry", admin.EmptyFieldListFilter)]
    list_select_related = ["client"]
    fields = ["client_link", "keyid", "public_key", "label", "since", "revoked"]
    actions = ["revoke"]
    since = entry_link("enrolled_entry", _("brought by"))
    revoked = entry_link("revoked_entry", _("ended by"))

    @admin.display(description=_("key"), ordering="keyid")
    def short(self, row: ClientKey) -> str:
        return f"{row.keyid[:16]}…"

    @admin.display(description=_("client"), ordering="client__name")
    def client_link(self, row: ClientKey) -> str:
        return link(row.client)

    @admin.action(description=_("Revoke"), permissions=["change_client"])
    def revoke(self, request: HttpRequest, rows: QuerySet[ClientKey]) -> HttpResponse | None:
        return ask_each(
            self, request, rows, "revoke", reason_form("key"), _("Revoke these keys"), _("revoked"),
            lambda row, values: client_keys.revoke_client_key(
                row.client_id, row.keyid, values["reason"], actor=officer(request.user)
            ),
            _("What they signed stays valid, nothing they sign later is. A client without a key "
"needs a token."),
        )  # fmt: skip

    def has_change_client_permission(self, request: Any) -> bool:
        return bool(request.user.has_perm("ledger.change_client"))


def _with_token(
    request: HttpRequest, use_case: Callable[[Client, dict[str, Any]], tuple[Client, str]]
) -> Callable[[Client, dict[str, Any]], None]:
    """Run a use case that makes a token, and show that once."""

    def run(row: Client, values: dict[str, Any]) -> None:
        _show_token(request, *use_case(row, values))

    return run


def _show_token(request: HttpRequest, client: Client, token: str) -> None:
    until = f"{client.token_expires_at:%Y-%m-%d %H:%M} UTC"
    messages.warning(
        request,
        _("enrolment token of %(name)s, shown this once, good until %(until)s: %(token)s")
        % {"name": client.name, "until": until, "token": token},
    )
