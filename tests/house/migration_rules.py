"""What a migration must not do, because the version before it goes on working while it runs, and for a while after.

1. Old processes insert rows without knowing of a new column: it is nullable or has a default in the database.
2. They read and write the columns they know: nothing is renamed, and removed or changed only by a migration that
   says since which version no code uses it (`unused_since = "0.2"`), one release after that one.
3. Everybody appends to the log meanwhile: indexes are made CONCURRENTLY, checks are added NOT VALID and validated
   apart, and a table is never locked while data are moved: those have migrations of their own.
4. Append-only tables only ever grow wider: 2 has no exception there, triggers stay, rows are not touched.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any, Final

from django.contrib.postgres import operations as postgres
from django.db import connection
from django.db.migrations import Migration, operations
from django.db.migrations.state import ProjectState
from django.db.models import NOT_PROVIDED, CheckConstraint, UniqueConstraint
from pgtrigger import migrations as triggers

#: The tables as they were when the rules came; a migration up to this one made them.
FOUNDED: Final = 24
_DATA: Final = (operations.RunPython, operations.RunSQL)
_GONE: Final = (operations.RemoveField, operations.DeleteModel)
_WRITES: Final = "UPDATE|DELETE FROM|TRUNCATE|ALTER TABLE|DROP TABLE"
_RENAMED: Final = (operations.RenameField, operations.RenameModel, operations.AlterModelTable)
_HARMLESS: Final = (  # no SQL, or none that anybody waits for
    operations.CreateModel, operations.AlterField, operations.AlterModelOptions, operations.AlterModelManagers,
    operations.RemoveConstraint, postgres.ValidateConstraint, postgres.AddConstraintNotValid,
    postgres.AddIndexConcurrently, postgres.RemoveIndexConcurrently, triggers.AddTrigger,
)  # fmt: skip


def objections(migration: Migration, before: ProjectState) -> list[str]:
    """What is wrong with a migration of the app "ledger", in sentences; `before` is the state it starts from."""
    state, new, found = before.clone(), set[str](), []
    schema = [one for one in migration.operations if not isinstance(one, _DATA)]
    if schema and len(schema) < len(migration.operations):
        found.append("moves data while it holds the locks of schema changes: make two migrations of it")
    for operation in migration.operations:
        if isinstance(operation, operations.CreateModel):
            new.add(operation.name_lower)
        if _about(operation) not in new:
            found += list(_one(operation, migration, state))
        operation.state_forwards("ledger", state)
    return found


def append_only(state: ProjectState) -> set[str]:
    """Names of the models whose rows never change."""
    return {
        name
        for (_, name), model in state.models.items()
        if any(trigger.name == "append_only" for trigger in model.options.get("triggers", ()))
    }


def _about(operation: Any) -> str:
    name = getattr(operation, "model_name", None) or getattr(operation, "old_name", None)
    return (name or getattr(operation, "name", "") or "").lower()


def _one(operation: Any, migration: Migration, state: ProjectState) -> Iterator[str]:
    name = _about(operation)
    kept = name in append_only(state)
    if isinstance(operation, operations.AddField):
        field = operation.field
        if not (field.null or field.many_to_many or field.db_default is not NOT_PROVIDED):
            yield f"{name}.{operation.name}: old processes cannot insert: give it null=True or a db_default"
    elif isinstance(operation, _GONE) or _changes(operation, state):
        if kept:
            yield f"{name}: {operation.describe()}: columns of append-only tables stay as they are; add a new one"
        elif not getattr(migration, "unused_since", ""):
            yield f"{name}: {operation.describe()}: say with `unused_since` from which version on no code needs it"
    elif isinstance(operation, _RENAMED):
        yield f"{name}: {operation.describe()}: old processes ask for the old name; add, copy, remove it later"
    elif isinstance(operation, triggers.RemoveTrigger):
        again = [one for one in migration.operations if isinstance(one, triggers.AddTrigger)]
        if not any(one.trigger.name == operation.name and _about(one) == name for one in again):
            yield f"{name}: the trigger {operation.name} is removed"
    elif isinstance(operation, _DATA):
        yield from _touched(operation, state)
    else:
        yield from _waiting(operation, name)


def _waiting(operation: Any, name: str) -> Iterator[str]:
    """Operations that hold a lock as long as the table is large."""
    if type(operation) in {operations.AddIndex, operations.RemoveIndex}:
        instead = f"{type(operation).__name__}Concurrently"
        yield f"{name}: {operation.describe()}: nobody can append meanwhile: use {instead}"
    elif type(operation) is operations.AddConstraint and isinstance(operation.constraint, CheckConstraint):
        yield f"{name}: {operation.describe()}: use AddConstraintNotValid, and ValidateConstraint later"
    elif type(operation) is operations.AddConstraint and isinstance(operation.constraint, UniqueConstraint):
        yield f"{name}: {operation.describe()}: nobody can append meanwhile; make a unique index concurrently"
    elif not isinstance(operation, _HARMLESS):
        yield f"{name}: {operation.describe()}: no rule knows this operation; think, and add it to one"


def _changes(operation: Any, state: ProjectState) -> bool:
    """Whether an AlterField changes the column, and not only what Django says of it."""
    if not isinstance(operation, operations.AlterField):
        return False
    old = state.models["ledger", operation.model_name_lower].fields[operation.name]
    new = operation.field
    wider = (
        old.null is False and new.null is True and old.db_parameters(connection) == new.db_parameters(connection)
    )
    if wider:  # dropping NOT NULL takes a moment, and old processes never notice
        return False
    own, later = old.clone(), new.clone()
    for field in (own, later):
        field.set_attributes_from_name(operation.name)
    return bool(connection.schema_editor()._field_should_be_altered(own, later))


def _touched(operation: Any, state: ProjectState) -> Iterator[str]:
    """Data migrations that write what is never written again."""
    code = inspect.getsource(operation.code) if isinstance(operation, operations.RunPython) else str(operation.sql)
    if "pgtrigger" in code or "session_replication_role" in code:
        yield f"{operation.describe()}: it goes around the triggers"
    for name in append_only(state):
        model = state.models["ledger", name]
        if isinstance(operation, operations.RunSQL):
            hit = re.search(rf"\b({_WRITES})\s+(ONLY\s+)?ledger_{name}\b", code, re.IGNORECASE)
        else:
            hit = re.search(rf"\b{model.name}\b", code) and re.search(r"\.(save|update|delete|bulk_update)\(", code)
        if hit:
            yield f"{operation.describe()}: it writes rows of {name}, which is append-only"
