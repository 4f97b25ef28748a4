"""Accounts of the people who work here: their roles, and nothing that would make them more than that."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import Group, User
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin, TabularInline
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from ledger.access import factors, tokens
from ledger.admin.base import ask_each
from ledger.models import ApiToken, ModelLimit
from ledger.workflow.errors import WorkflowError

admin.site.unregister(Group)  # the groups are the roles, and follow their table: see ledger.access.roles
admin.site.unregister(User)


class ModelLimitInline(TabularInline):
    model = ModelLimit
    extra = 0
    verbose_name = _("model")
    verbose_name_plural = _("limited to these models; none: sees all")

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("auth.view_user")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("auth.change_user")

    has_add_permission = has_delete_permission = has_change_permission


@admin.register(User)
class AccountAdmin(UserAdmin, ModelAdmin):
    """Accounts are switched off, not deleted: events name them."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm

    filter_horizontal = ()  # five roles are seen at a glance
    inlines = [ModelLimitInline]
    actions = ["reset_factors"]
    list_display = ["username", "email", "role_names", "is_active", "is_superuser", "last_login"]
    list_filter = ["is_active", "is_superuser", "groups"]
    fieldsets = [
        (None, {"fields": ["username", "password"]}),
        (_("Person"), {"fields": ["first_name", "last_name", "email"]}),
        (_("What the account may do"), {"fields": ["is_active", "is_staff", "groups", "is_superuser"]}),
        (_("Dates"), {"fields": ["last_login", "date_joined"]}),
    ]
    add_fieldsets = [
        (None, {"classes": ["wide"], "fields": ["username", "usable_password", "password1", "password2"]}),
        (_("What the account may do"), {"fields": ["is_staff", "groups"]}),
    ]

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).prefetch_related("groups")

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """The roles, each with a box to tick."""
        field: Any = super().formfield_for_manytomany(db_field, request, **kwargs)
        if db_field.name == "groups" and field is not None:
            field.widget, field.help_text = UnfoldAdminCheckboxSelectMultipleWidget(choices=field.choices), ""
        return field

    @admin.display(description=_("roles"))
    def role_names(self, row: User) -> str:
        return ", ".join(group.name for group in row.groups.all()) or "–"

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        fixed = ["last_login", "date_joined"]
        return fixed if request.user.is_superuser else [*fixed, "is_superuser"]

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """An administrator who could set a superuser's password would be one."""
        beyond = obj is not None and obj.is_superuser and not request.user.is_superuser
        return not beyond and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    @admin.action(description=_("Reset second factors and revoke API tokens …"), permissions=["change"])
    def reset_factors(self, request: HttpRequest, rows: QuerySet[User]) -> HttpResponse | None:
        return ask_each(
            self, request, rows, "reset_factors", forms.Form,
            _("Reset second factors and revoke API tokens"), _("reset"),
            lambda row, _: self._reset(request, row),
            _("These people log in with their passwords alone until they have set up a new factor. "
"Make sure by other means that it is they who ask. This is recorded."),
        )  # fmt: skip

    def _reset(self, request: HttpRequest, row: User) -> None:
        if not self.has_change_permission(request, row):
            raise WorkflowError("permission-denied", gettext("only a superuser resets a superuser's factors"), 403)
        factors.reset(row, request.user)
        for token in ApiToken.objects.filter(user=row):
            tokens.revoke(token, request.user)
