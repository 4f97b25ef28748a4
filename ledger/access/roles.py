"""What each role may do: one table, which the groups in the database follow after every migration.

| role | for |
|---|---|
| auditor | reading everything but who asked, changing nothing |
| operator | jobs, witnesses, webhooks, clients' keys and tokens, silent clients |
| officer | requests from filing to certificate, but no approvals; windows, orders, clients that do not comply |
| approver | approving and denying requests |
| administrator | all of it, and accounts, policies, regulations and models |

Roles add up: an account with two may do what either may. Whoever files should not approve, so officers cannot; give
somebody both roles where one person has to do. Superusers may do everything, as everywhere in Django.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from django.apps import apps
from django.contrib.auth.management import create_permissions
from django.contrib.auth.models import Group, Permission

AUDITOR: Final = "auditor"
OPERATOR: Final = "operator"
OFFICER: Final = "officer"
APPROVER: Final = "approver"
ADMINISTRATOR: Final = "administrator"

#: Beyond reading, which all of them may. Codenames of permissions of the app `ledger`.
_DUTIES: Final[Mapping[str, frozenset[str]]] = {
    AUDITOR: frozenset(),
    OPERATOR: frozenset(
        {
            "add_client", "change_client", "change_job", "change_order", "change_webhookendpoint",
            "change_witnessstate",
        }
    ),
    OFFICER: frozenset(
        {
            "add_deletionrequest", "add_export", "add_requestimport", "change_client", "change_deletionrequest",
            "change_order", "change_window", "reveal_deletionrequest",
        }
    ),
    APPROVER: frozenset({"decide_deletionrequest"}),
}  # fmt: skip
ROLES: Final = (*_DUTIES, ADMINISTRATOR)
_ACCOUNTS: Final = ("view_user", "add_user", "change_user", "view_group")
_SEALED: Final = "subjectrecord"  # the vault's rows are ciphertext: there is nothing to look at


def codenames(role: str) -> frozenset[str]:
    """What `role` may do, as codenames of the app `ledger`. Raises KeyError for no role."""
    names = {
        f"{action}_{model._meta.model_name}"  # noqa: SLF001 - Django's public name
        for model in apps.get_app_config("ledger").get_models()
        for action in (("view", "add", "change") if role == ADMINISTRATOR else ("view",))
        if model._meta.model_name != _SEALED  # noqa: SLF001
    }
    duties = frozenset().union(*_DUTIES.values()) if role == ADMINISTRATOR else _DUTIES[role]
    return frozenset(names) | duties


def follow(**_: object) -> None:
    """Make the groups what the table says: missing ones are made, permissions given by hand are taken back."""
    for name in ("auth", "ledger"):
        create_permissions(apps.get_app_config(name), verbosity=0)
    known = {
        (one.content_type.app_label, one.codename): one
        for one in Permission.objects.filter(content_type__app_label__in=("auth", "ledger")).select_related(
            "content_type"
        )
    }
    groups = {group.name: group for group in Group.objects.filter(name__in=ROLES).prefetch_related("permissions")}
    for role in ROLES:
        group = groups.get(role) or Group.objects.create(name=role)
        wanted = {known["ledger", name] for name in codenames(role)}
        if role == ADMINISTRATOR:
            wanted |= {known["auth", name] for name in _ACCOUNTS}
        if role not in groups or set(group.permissions.all()) != wanted:
            group.permissions.set(wanted)
