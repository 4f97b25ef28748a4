"""Every role against every operation, page and action: what the table says, and what is tried nevertheless."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, Permission, User
from django.test import Client as Browser
from django.test import RequestFactory
from django.urls import reverse

from ledger import log
from ledger.access import roles
from ledger.api import operations
from ledger.api.auth import OfficerView, PartyView
from ledger.workflow import requests
from tests.ledger.api.parts import by_officer
from tests.ledger.api.test_permissions import CASES
from tests.ledger.story import FORGET, Story

PAGES = [model for model in admin.site._registry if model._meta.app_label == "ledger"]
#: Who may do what changes something, beside the administrator, who may all of it. Said here once more, on purpose.
CHANGES = {
    "add_client": "operator", "change_client": "operator officer", "change_job": "operator",
    "change_webhookendpoint": "operator", "change_witnessstate": "operator", "change_order": "operator officer",
    "add_deletionrequest": "officer", "add_requestimport": "officer", "add_export": "officer",
    "change_deletionrequest": "officer", "change_window": "officer",
    "decide_deletionrequest": "approver", "change_policy": "", "change_regulationterms": "",
    "change_globalmodel": "",
}  # fmt: skip
#: The same for the actions on the pages.
ACTIONS = {
    "deletionrequest": {
        "acknowledge identify extend hold lift revoke open_window show_subject erase": "officer",
        "approve deny": "approver",
    },
    "window": {"put take discard close certify": "officer"},
    "order": {"remind release": "operator officer", "suspend reinstate": "operator officer"},
    "suspension": {"reinstate": "operator officer"},
    "client": {"reissue reenrol retire": "operator officer"},
    "clientkey": {"revoke": "operator officer"},
    "globalmodel": {"retire": ""},
    "policy": {"drop": ""},
    "job": {"retry": "operator"},
    "webhookendpoint": {"test enable remove": "operator"},
    "webhookdelivery": {"replay": "operator"},
    "witnessstate": {"ask_now": "operator"},
    "export": {"fetch": "auditor operator officer approver"},
}  # fmt: skip


def somebody(*names: str, **more: Any) -> User:
    user = User.objects.create(username="-".join(names) or "nobody", is_staff=True, **more)
    user.groups.set(Group.objects.filter(name__in=names))
    return user


def browser_of(user: User) -> Browser:
    browser = Browser()
    browser.force_login(user)
    return browser


def may(role: str, permitted: str) -> bool:
    return role == roles.ADMINISTRATOR or role in permitted.split()


@pytest.mark.parametrize("role", roles.ROLES)
def test_every_operation(db: None, role: str) -> None:
    """Allowed where the table says so, 403 where not. Empty bodies and unknown names do nothing in either case."""
    browser = browser_of(somebody(role))
    for method, path, view in CASES:
        if not issubclass(view, OfficerView | PartyView):
            continue
        said = operations.of(view, method)
        assert said is not None
        assert said.needs is not None
        name = said.needs.removeprefix("ledger.")
        allowed = name.startswith("view_") or may(role, CHANGES[name])
        status = by_officer(method, path, browser).status_code
        assert (status != 403) == allowed, (role, method, path, status)


@pytest.mark.parametrize("role", roles.ROLES)
def test_every_page_and_action(db: None, role: str) -> None:
    user = somebody(role)
    browser = browser_of(user)
    for model in PAGES:
        name = model._meta.model_name
        assert browser.get(reverse(f"admin:ledger_{name}_changelist")).status_code == 200, (role, name)
        request = RequestFactory().get("/")
        request.user = user
        offered = set(admin.site.get_model_admin(model).get_actions(request))
        expected = {
            one
            for ones, permitted in ACTIONS.get(str(name), {}).items()
            for one in ones.split()
            if may(role, permitted)
        }
        assert offered == expected, (role, name)
    for name, allowed in {
        "deletionrequest": may(role, "officer"), "requestimport": may(role, "officer"),
        "export": may(role, "officer"),
        "client": may(role, "operator"), "policy": may(role, ""),
    }.items():  # fmt: skip
        status = browser.get(reverse(f"admin:ledger_{name}_add")).status_code
        assert status == (200 if allowed else 403), (role, name)
    status = browser.get(reverse("admin:auth_user_changelist")).status_code
    assert status == (200 if role == roles.ADMINISTRATOR else 403)


def test_an_action_that_is_not_offered_cannot_be_sent(story: Story) -> None:
    """The attack: an officer who may not approve posts what an approver's page would post."""
    row = requests.file_request("gdpr", "x", FORGET)
    size = log.size()
    for role in (roles.OFFICER, roles.AUDITOR, roles.OPERATOR):
        sent = {"action": "approve", "_selected_action": [str(row.pk)], "reason": "", "confirmed": "yes"}
        browser_of(somebody(role)).post(reverse("admin:ledger_deletionrequest_changelist"), sent)
        row.refresh_from_db()
        assert (row.state, log.size()) == ("open", size), role


def test_roles_add_up(db: None) -> None:
    both = somebody(roles.OFFICER, roles.APPROVER)
    assert both.has_perms(["ledger.add_deletionrequest", "ledger.decide_deletionrequest"])
    assert not both.has_perm("ledger.change_policy")


def test_groups_follow_the_table(db: None) -> None:
    """The attack: somebody gives auditors more by hand. The next migration takes it back."""
    auditors = Group.objects.get(name=roles.AUDITOR)
    auditors.permissions.add(Permission.objects.get(codename="decide_deletionrequest"))
    Group.objects.get(name=roles.OPERATOR).delete()
    roles.follow()
    given = set(auditors.permissions.values_list("codename", flat=True))
    assert given == roles.codenames(roles.AUDITOR)
    assert all(name.startswith("view_") for name in given)
    assert Group.objects.filter(name=roles.OPERATOR).exists()


def test_administrators_do_not_become_superusers(db: None) -> None:
    """They could otherwise by setting the flag, or a superuser's password."""
    boss, administrator = somebody("boss", is_superuser=True), somebody(roles.ADMINISTRATOR)
    browser = browser_of(administrator)
    own = reverse("admin:auth_user_change", args=[administrator.pk])
    form = {"username": "administrator", "is_active": "on", "is_staff": "on", "is_superuser": "on"}
    browser.post(own, form)
    administrator.refresh_from_db()
    assert not administrator.is_superuser
    assert browser.post(reverse("admin:auth_user_change", args=[boss.pk]), form).status_code == 403
    password = reverse("admin:auth_user_password_change", args=[boss.pk])
    new = {"password1": "a new long password", "password2": "a new long password", "usable_password": "true"}
    assert browser.post(password, new).status_code == 403
