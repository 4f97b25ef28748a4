"""The provider's side before its server starts, as an operator would do it: tables, keys, officers, releases.

    LEDGER_DATA_DIR=... python -m tests.stories.founding RELEASE PASSWORD NAME[:ROLE,ROLE] ...

A name without roles is a superuser's. Once per data folder, in one process: five management commands would start
Django five times.
"""

from __future__ import annotations

import os
import sys

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ledger.settings")


def main(release: str, password: str, people: list[str]) -> None:
    django.setup()
    from django.contrib.auth.hashers import make_password
    from django.contrib.auth.models import Group, User
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    call_command("init")
    hashed = make_password(password)  # once: it is slow on purpose
    for person in people:
        name, _, roles = person.partition(":")
        user = User.objects.create(username=name, password=hashed, is_staff=True, is_superuser=not roles)
        user.groups.set(Group.objects.filter(name__in=roles.split(",")))
    call_command("register_circuit", release)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
