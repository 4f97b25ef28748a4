"""The provider's side before its server starts, as an operator would do it: tables, keys, officers, releases.

    LEDGER_DATA_DIR=... python -m tests.stories.founding RELEASE OFFICER:PASSWORD ...

Once per data folder, in one process: five management commands would start Django five times.
"""

from __future__ import annotations

import os
import sys

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ledger.settings")


def main(release: str, officers: list[str]) -> None:
    django.setup()
    from django.contrib.auth import get_user_model
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    call_command("init")
    for officer in officers:
        name, password = officer.split(":")
        get_user_model().objects.create_superuser(name, password=password)
    call_command("register_circuit", release)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
