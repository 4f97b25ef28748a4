"""The transparency log's tables. `ledger.log` is their only writer, and writes rows once.

Triggers refuse UPDATE, DELETE and TRUNCATE. They guard against mistakes in our own code; against a provider
who owns the database the assurance is the signed checkpoints that others keep.
"""

from __future__ import annotations

import pgtrigger
from django.db import models
from django.utils.translation import gettext as _

# An empty table may be truncated: nothing is lost, and tools that reset a fresh database do so.
_REFUSE_TRUNCATE = """
    IF EXISTS (SELECT 1 FROM {meta.db_table}) THEN
        RAISE EXCEPTION 'pgtrigger: Cannot truncate table {meta.db_table}: the log is append-only';
    END IF;
    RETURN NULL;
"""


def append_only() -> list[pgtrigger.Trigger]:
    """Triggers that let rows in and never change or remove them."""
    return [
        pgtrigger.Protect(name="append_only", operation=pgtrigger.Update | pgtrigger.Delete),
        pgtrigger.Trigger(
            name="no_truncate",
            level=pgtrigger.Statement,
            when=pgtrigger.Before,
            operation=pgtrigger.Truncate,
            func=pgtrigger.Func(_REFUSE_TRUNCATE),
        ),
    ]


class LogEntry(models.Model):
    """One leaf: the bytes of a signed envelope and its place in the tree."""

    index = models.BigIntegerField(primary_key=True)
    leaf_hash = models.BinaryField(max_length=32, help_text="RFC 6962 leaf hash, 32 bytes")
    envelope = models.BinaryField(help_text="DSSE envelope, canonical JSON: the data of the leaf")
    predicate_type = models.CharField(max_length=200)
    statement_sha256 = models.CharField(max_length=64, help_text="of the signed payload")
    signer = models.CharField(max_length=64, help_text="key ID of the key that was verified")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["index"]
        verbose_name_plural = "log entries"
        # Not on the fields: there Django adds a second index to each for LIKE, which every append would pay for.
        constraints = [models.UniqueConstraint(fields=["statement_sha256"], name="one_entry_per_statement")]
        indexes = [
            models.Index(fields=["predicate_type"], name="entries_by_predicate_type"),
            models.Index(fields=["signer"], name="entries_by_signer"),
        ]
        triggers = append_only()

    def __str__(self) -> str:
        return f"#{self.index} {_(self.kind)}"

    @property
    def kind(self) -> str:
        """The predicate's slug, as "mask" or "order"."""
        return self.predicate_type.split(":")[-2]


class LogNode(models.Model):
    """Hash of a complete subtree: leaves index·2^level up to (index+1)·2^level."""

    level = models.PositiveSmallIntegerField()
    index = models.BigIntegerField()
    hash = models.BinaryField(max_length=32)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["level", "index"], name="one_hash_per_subtree")]
        triggers = append_only()

    def __str__(self) -> str:
        return f"level {self.level}, subtree {self.index}"


class Checkpoint(models.Model):
    """A signed head of the log."""

    size = models.BigIntegerField(primary_key=True)
    root = models.BinaryField(max_length=32)
    note = models.TextField(help_text="signed note, C2SP tlog-checkpoint")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["size"]
        triggers = append_only()

    def __str__(self) -> str:
        return _("checkpoint of %(size)s entries") % {"size": self.size}
