"""Who may do what in PostgreSQL: an owner whom nobody logs in as, and an application that can only append.

Triggers stop our own mistakes, but whoever owns a table can drop its triggers. So the tables belong to one role and
the application connects as another:

- the owner role has no login; only an administrator acts for it, to migrate;
- the application role reads and writes ordinary tables; in append-only tables (those with `append_only` triggers)
  it may SELECT and INSERT. It owns nothing, creates nothing, and is a member of nothing.

`set_up` may run again at any time, and has to after each migration: new tables belong to whoever migrated.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.db import connection, transaction
from psycopg import sql

Composed = sql.Composed


class RolesError(ValueError):
    """These roles cannot be set up like this; the message says why."""


@transaction.atomic
def set_up(owner: str, application: str, password: str | None) -> None:
    """Make or mend both roles, and hand all tables of this database to `owner`.

    `password` is the application's new one; None leaves it as it is. The connection's own role must be a superuser,
    or be allowed to create roles and own the tables. Raises RolesError if it is one of the two itself.
    """
    me, superuser = _one("SELECT current_user, usesuper FROM pg_user WHERE usename = current_user")
    if me in (owner, application) or owner == application:
        raise RolesError(
            f"three different roles are needed: you are {me!r}, the owner is {owner!r}, the application "
            f"{application!r}. Connect as an administrator (DATABASE_URL) and name two others"
        )
    for order in (*_roles(owner, application, password), *_ownership(owner, me, superuser), *_rights(application)):
        _run(order)


def exists(role: str) -> bool:
    """Whether the database server knows `role`."""
    return bool(_one("SELECT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = %s)", role)[0])


def append_only_tables() -> list[str]:
    """Tables that only grow: those whose models carry the trigger of that name."""
    return sorted(
        model._meta.db_table  # noqa: SLF001
        for model in apps.get_app_config("ledger").get_models()
        if any(trigger.name == "append_only" for trigger in getattr(model._meta, "triggers", []))  # noqa: SLF001
    )


def _roles(owner: str, application: str, password: str | None) -> Iterator[Composed]:
    for role in (owner, application):
        if not exists(role):
            yield _sql("CREATE ROLE {}", role)
    yield _sql("ALTER ROLE {} NOLOGIN", owner)
    yield _sql("ALTER ROLE {} LOGIN NOCREATEDB NOCREATEROLE", application)
    if password is not None:
        yield sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(application), sql.Literal(password))
    for (group,) in _all(
        "SELECT granted.rolname FROM pg_auth_members JOIN pg_roles granted ON granted.oid = roleid "
        "JOIN pg_roles member ON member.oid = pg_auth_members.member WHERE member.rolname = %s",
        application,
    ):
        yield _sql("REVOKE {} FROM {}", group, application)


def _ownership(owner: str, me: str, superuser: bool) -> Iterator[Composed]:
    """Tables, their sequences and the triggers' functions, wherever this database's search path leads."""
    if not superuser:
        yield _sql("GRANT {} TO {}", owner, me)
    yield _sql("GRANT USAGE, CREATE ON SCHEMA public TO {}", owner)
    for (table,) in _all(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
    ):
        yield _sql("ALTER TABLE public.{} OWNER TO {}", table, owner)
    for (function,) in _all(
        "SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace "
        "AND prorettype = 'trigger'::regtype AND proname LIKE 'pgtrigger%'"
    ):
        yield _sql("ALTER FUNCTION public.{}() OWNER TO {}", function, owner)


def _rights(application: str) -> Iterator[Composed]:
    """Nothing but what is granted here, whatever was granted before, to the role or to everybody."""
    (database,) = _one("SELECT current_database()")
    yield _sql("REVOKE ALL ON DATABASE {} FROM PUBLIC, {}", database, application)
    yield _sql("GRANT CONNECT ON DATABASE {} TO {}", database, application)
    yield _sql("REVOKE ALL ON SCHEMA public FROM PUBLIC, {}", application)
    yield _sql("GRANT USAGE ON SCHEMA public TO {}", application)
    yield _sql("REVOKE ALL ON ALL TABLES IN SCHEMA public FROM PUBLIC, {}", application)
    yield _sql("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {}", application)
    for table in append_only_tables():
        yield _sql("REVOKE UPDATE, DELETE ON public.{} FROM {}", table, application)
    yield _sql("REVOKE INSERT, UPDATE, DELETE ON public.django_migrations FROM {}", application)
    yield _sql("REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM PUBLIC, {}", application)
    yield _sql("GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {}", application)


def _sql(order: str, *names: str) -> Composed:
    return sql.SQL(order).format(*map(sql.Identifier, names))


def _run(order: Composed) -> None:
    with connection.cursor() as cursor:
        cursor.execute(order)


def _one(query: str, *values: str) -> tuple[Any, ...]:
    return _all(query, *values)[0]


def _all(query: str, *values: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, values or None)
        return cursor.fetchall()
