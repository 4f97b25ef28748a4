"""Migrations that can run while the version before goes on: the rules hold, and each of them refuses its attack."""

from __future__ import annotations

import pytest
from django.contrib.postgres.operations import AddConstraintNotValid, AddIndexConcurrently
from django.db import migrations, models
from django.db.migrations import Migration
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ProjectState
from pgtrigger.migrations import RemoveTrigger

from tests.house.migration_rules import FOUNDED, append_only, objections


@pytest.fixture(scope="module")
def loader() -> MigrationLoader:
    return MigrationLoader(None)


@pytest.fixture(scope="module")
def today(loader: MigrationLoader) -> ProjectState:
    return loader.project_state()


def test_every_migration_keeps_the_rules(loader: MigrationLoader) -> None:
    names = sorted(name for app, name in loader.disk_migrations if app == "ledger")
    later = [name for name in names if int(name[:4]) > FOUNDED]
    assert names[FOUNDED - 1].startswith(f"{FOUNDED:04d}_")
    assert later, "none to look at: take the number down, or the test away"
    for name in later:
        before = loader.project_state(("ledger", name), at_end=False)
        assert objections(loader.disk_migrations["ledger", name], before) == [], name


def test_append_only_tables_are_known(today: ProjectState) -> None:
    assert {"logentry", "lognode", "checkpoint", "cosignature", "checkpointproposal", "event"} <= append_only(today)
    assert "job" not in append_only(today)


def rename(apps, schema_editor) -> None:
    apps.get_model("ledger", "LogEntry").objects.update(signer="somebody")


def harmless(apps, schema_editor) -> None:
    apps.get_model("ledger", "Job").objects.update(message="")


TEXT = models.CharField(max_length=9)
CHECK = models.CheckConstraint(condition=models.Q(attempts__lt=9), name="b")
ATTACKS = [
    (migrations.AddField("job", "more", TEXT), "old processes cannot insert"),
    (migrations.RemoveField("logentry", "signer"), "columns of append-only tables stay"),
    (migrations.RemoveField("job", "message"), "unused_since"),
    (migrations.DeleteModel("Event"), "columns of append-only tables stay"),
    (migrations.AlterField("logentry", "signer", models.CharField(max_length=99)), "append-only tables stay"),
    (migrations.AlterField("logentry", "signer", models.TextField()), "append-only tables stay"),
    (migrations.AlterField("job", "error", models.CharField(max_length=9)), "unused_since"),
    (migrations.RenameField("job", "error", "trouble"), "old processes ask for the old name"),
    (migrations.RenameModel("LogEntry", "Leaf"), "old processes ask for the old name"),
    (migrations.AlterModelTable("logentry", "leaves"), "old processes ask for the old name"),
    (migrations.AddIndex("logentry", models.Index(fields=["created_at"], name="a")), "AddIndexConcurrently"),
    (migrations.RemoveIndex("logentry", "entries_by_signer"), "RemoveIndexConcurrently"),
    (migrations.AddConstraint("job", CHECK), "AddConstraintNotValid"),
    (migrations.AddConstraint("job", models.UniqueConstraint(fields=["error"], name="c")), "unique index"),
    (RemoveTrigger("logentry", "append_only"), "the trigger append_only is removed"),
    (migrations.RunPython(rename), "writes rows of logentry"),
    (migrations.RunSQL("UPDATE ledger_checkpoint SET note = ''"), "writes rows of checkpoint"),
    (migrations.RunSQL("ALTER TABLE ledger_event DISABLE TRIGGER ALL"), "writes rows of event"),
    (migrations.RunSQL("SET pgtrigger.ignore = 'x'; SELECT 1"), "goes around the triggers"),
    (migrations.AlterUniqueTogether("job", {("kind", "error")}), "no rule knows"),
]  # fmt: skip
ALLOWED = [
    migrations.AddField("logentry", "more", models.CharField(max_length=9, null=True)),
    migrations.AddField("job", "more", models.CharField(max_length=9, db_default="")),
    migrations.AlterField("job", "state", models.CharField(max_length=10, choices=[("a", "b")], default="queued")),
    migrations.AlterField("job", "message", models.CharField(max_length=300, null=True)),
    AddIndexConcurrently("logentry", models.Index(fields=["created_at"], name="a")),
    AddConstraintNotValid("job", CHECK),
    migrations.RunPython(harmless),
]


def made(*operations: object, **more: object) -> Migration:
    kind = type("Migration", (Migration,), {"operations": list(operations), **more})
    return kind("0099_attack", "ledger")


@pytest.mark.parametrize(("operation", "words"), ATTACKS)
def test_a_forbidden_operation_is_seen(today: ProjectState, operation: object, words: str) -> None:
    (said,) = objections(made(operation), today)
    assert words in said


@pytest.mark.parametrize("operation", ALLOWED)
def test_what_is_allowed(today: ProjectState, operation: object) -> None:
    assert objections(made(operation), today) == []


def test_exceptions(today: ProjectState) -> None:
    """A column that nobody needs may go where rows change; a new table may have what it likes; data go alone."""
    gone = migrations.RemoveField("job", "message")
    assert objections(made(gone, unused_since="0.2"), today) == []
    assert objections(made(migrations.RemoveField("logentry", "signer"), unused_since="0.2"), today) != []
    table = migrations.CreateModel("Thing", [("id", models.BigAutoField(primary_key=True))])
    index = migrations.AddIndex("thing", models.Index(fields=["id"], name="d"))
    assert objections(made(table, index), today) == []
    both = made(migrations.AddField("job", "more", models.TextField(null=True)), migrations.RunPython(harmless))
    assert objections(both, today) == [
        "moves data while it holds the locks of schema changes: make two migrations of it"
    ]
