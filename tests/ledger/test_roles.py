"""`setup_roles`, and everything that the application's role then tries in vain."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from ledger import log, roles
from ledger.models import Checkpoint, Client, LogEntry
from tests.ledger.test_log import append, leaves

OWNER, APPLICATION = "test_owner", "test_app"
TABLES = ["ledger_checkpoint", "ledger_logentry", "ledger_lognode"]

pytestmark = pytest.mark.django_db(transaction=True)


def set_up() -> str:
    output = io.StringIO()
    call_command("setup_roles", owner=OWNER, application=APPLICATION, stdout=output)
    return output.getvalue()


@pytest.fixture
def url() -> Iterator[str]:
    """Where the application connects after `setup_roles`; the log has entries."""
    append(3)
    log.publish_checkpoint()
    said = set_up()
    yield said.rsplit("DATABASE_URL=", 1)[1].strip()
    with connection.cursor() as cursor:
        cursor.execute(f"REASSIGN OWNED BY {OWNER} TO CURRENT_USER")
        cursor.execute(f"DROP OWNED BY {OWNER}, {APPLICATION}")
        cursor.execute(f"DROP ROLE {OWNER}, {APPLICATION}")


def refused(url: str, order: str) -> None:
    with psycopg.connect(url) as session, pytest.raises(psycopg.errors.InsufficientPrivilege):
        session.execute(order)  # type: ignore[arg-type]


@pytest.mark.parametrize("table", TABLES)
def test_the_application_can_only_append(url: str, table: str) -> None:
    column = {"ledger_checkpoint": "size", "ledger_logentry": '"index"', "ledger_lognode": "id"}[table]
    before = (leaves(), Checkpoint.objects.count())
    for order in (
        f"UPDATE {table} SET {column} = {column}",
        f"DELETE FROM {table}",
        f"TRUNCATE {table} CASCADE",
        f"ALTER TABLE {table} DISABLE TRIGGER ALL",
        f"ALTER TABLE {table} DISABLE TRIGGER USER",
        f"ALTER TABLE {table} ADD COLUMN more int",
        f"ALTER TABLE {table} OWNER TO {APPLICATION}",
        f"ALTER TABLE {table} RENAME TO other",
        f"DROP TABLE {table} CASCADE",
        f"CREATE RULE nothing AS ON INSERT TO {table} DO INSTEAD NOTHING",
        f"CREATE TRIGGER t BEFORE UPDATE ON {table} EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        f"CREATE INDEX ON {table} ({column})",
        f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE",
        f"SELECT * FROM {table} FOR UPDATE",
        f"MERGE INTO {table} USING (SELECT 1) one ON true WHEN MATCHED THEN DELETE",
        f"GRANT ALL ON {table} TO {APPLICATION}",
        f"SET session_replication_role = replica; DELETE FROM {table}",
        f"SET pgtrigger.ignore = '{table}'; DELETE FROM {table}",
        f"SET ROLE {OWNER}",
        f"SET SESSION AUTHORIZATION {OWNER}",
    ):
        if order.startswith("GRANT"):
            grant_nothing(url, order)
        else:
            refused(url, order)
    assert (leaves(), Checkpoint.objects.count()) == before
    # pgtrigger's own way round the triggers works for an administrator, and for the application it does not.
    name = _triggers(table)[0]
    refused(url, f"DROP TRIGGER {name} ON {table}")


def grant_nothing(url: str, order: str) -> None:
    """Granting what one does not have is a warning; it must have no effect."""
    table = order.split()[3]
    try:
        with psycopg.connect(url) as session:
            session.execute(order)  # type: ignore[arg-type]
    except psycopg.errors.InsufficientPrivilege:
        pass
    refused(url, f"DELETE FROM {table}")


def _triggers(table: str) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT tgname FROM pg_trigger WHERE tgrelid = %s::regclass AND NOT tgisinternal ORDER BY 1", [table]
        )
        return [name for (name,) in cursor.fetchall()]


@pytest.mark.parametrize(
    "order",
    [
        "CREATE TABLE public.mine (x int)",
        "CREATE TEMPORARY TABLE ledger_logentry (x int)",
        "CREATE SCHEMA mine",
        "CREATE ROLE mine",
        f"ALTER ROLE {APPLICATION} SUPERUSER",
        f"GRANT {OWNER} TO {APPLICATION}",
        "CREATE OR REPLACE FUNCTION public.mine() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
        "DELETE FROM django_migrations",
        "COPY ledger_logentry TO PROGRAM 'cat'",
    ],
)
def test_the_application_gets_no_further(url: str, order: str) -> None:
    refused(url, order)


def test_the_triggers_functions_are_not_the_applications(url: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT proname FROM pg_proc WHERE proname LIKE 'pgtrigger%'")
        names = [name for (name,) in cursor.fetchall()]
    assert len(names) >= 6
    for name in names:
        refused(url, f"ALTER FUNCTION {name}() RENAME TO other")
        refused(
            url,
            f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
        )


WORK = """
import django
django.setup()
from django.db import connection, transaction
from ledger import log
from ledger.models import Client
from ledger.workflow.clients import invite_client
from tests.ledger.test_log import SIGNER, append, envelope

append(2)
with transaction.atomic():
    log.append_all([envelope() for _ in range(3)], SIGNER)
client, _ = invite_client("somebody")
Client.objects.filter(pk=client.pk).update(name="somebody else")
print(log.publish_checkpoint().size)
"""


def test_the_application_works(url: str) -> None:
    """All that it has to do: append one or many, publish, change its own rows."""
    root = Path(__file__).resolve().parents[2]
    environment = {
        **os.environ, "DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "ledger.settings", "PYTHONPATH": str(root)
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", WORK], env=environment, cwd=root, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "8\n"), done.stderr[-2000:]
    assert LogEntry.objects.count() == 8
    assert Client.objects.get().name == "somebody else"


def test_again_and_for_new_tables(url: str) -> None:
    """A second run takes a migration's new table along, takes excess rights away, and keeps the password."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE later (x int)")
        cursor.execute(f"GRANT ALL ON ledger_logentry TO {APPLICATION}")
        cursor.execute(f"GRANT {OWNER} TO {APPLICATION}")
        cursor.execute("GRANT DELETE ON ledger_lognode TO PUBLIC")
    try:
        assert ":PASSWORD@" in set_up()
        with psycopg.connect(url) as session:
            session.execute("INSERT INTO later VALUES (1)")
        for order in ("DELETE FROM ledger_logentry", "DELETE FROM ledger_lognode", f"SET ROLE {OWNER}"):
            refused(url, order)
        refused(url, "DROP TABLE later")
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE later")


def test_the_log_tables_are_known() -> None:
    assert set(TABLES) <= set(roles.append_only_tables())


def test_an_administrator_is_a_third_one() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user")
        me = cursor.fetchone()[0]
    for owner, application in ((me, APPLICATION), (OWNER, me), (OWNER, OWNER)):
        with pytest.raises(CommandError, match="three different roles"):
            call_command("setup_roles", owner=owner, application=application, stdout=io.StringIO())
    assert not roles.exists(OWNER)
