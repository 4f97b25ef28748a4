"""`manage.py setup_roles`: an owner of the tables, and a role for the application that can only append."""

from __future__ import annotations

import os
import secrets
from typing import Any
from urllib.parse import quote

from django.core.management.base import CommandError, CommandParser
from django.db import connection

from ledger import roles
from ledger.management.base import LedgerCommand


class Command(LedgerCommand):
    """Run as an administrator of the database after each `migrate`; everything else runs as the application."""

    help = (
        "Give all tables to an owner role that cannot log in, and make a role for the application that can neither "
        "alter them nor change or remove rows of the log. The application's password is taken from "
        "LEDGER_APP_PASSWORD; without it a new role gets a random one, printed once."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--owner", default="ledger_owner", help="role that owns the tables")
        parser.add_argument("--application", default="ledger_app", help="role that the application connects as")

    def handle(self, *args: Any, **options: Any) -> None:
        application = options["application"]
        password = os.environ.get("LEDGER_APP_PASSWORD")
        fresh = password is None and not roles.exists(application)
        if fresh:
            password = secrets.token_urlsafe(24)
        try:
            roles.set_up(options["owner"], application, password)
        except roles.RolesError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"append-only for {application}: {', '.join(roles.append_only_tables())}")
        shown = quote(str(password), safe="") if fresh else "PASSWORD"
        self.stdout.write(f"run the application with DATABASE_URL={self._url(application, shown)}")

    def _url(self, application: str, password: str) -> str:
        info = connection.connection.info
        if info.host.startswith("/"):
            return f"postgresql://{application}:{password}@/{info.dbname}?host={info.host}&port={info.port}"
        return f"postgresql://{application}:{password}@{info.host}:{info.port}/{info.dbname}"
