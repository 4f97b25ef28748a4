"""Personal data, encrypted under a key of its own and kept out of the log. `ledger.vault` reads and writes
it.
"""

from __future__ import annotations

import uuid

from django.db import models


class SubjectRecord(models.Model):
    """One sealed record: AES-256-GCM under a data key, which is itself wrapped under a master key.

    Of an erased record only the row is left: ciphertext and wrapped key are empty. `purged` says that the table's
    file was rewritten since, so that no dead row holds them either.
    """

    uuid = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    ciphertext = models.BinaryField(help_text="12-byte nonce, then ciphertext and tag")
    wrapped_key = models.BinaryField(help_text="the data key, wrapped by the key manager")
    master = models.CharField(
        max_length=200, blank=True, default="", db_index=True,
        help_text="name of the master key that wraps it; empty in rows from before master keys had names",
    )  # fmt: skip
    created_at = models.DateTimeField(auto_now_add=True)
    erased_at = models.DateTimeField(null=True, blank=True)
    purged = models.BooleanField(default=False)

    def __str__(self) -> str:
        return f"sealed record {self.uuid}"


class VaultKey(models.Model):
    """A key of the ledger's own that is sealed like a person's record, so that it follows the master key."""

    name = models.CharField(primary_key=True, max_length=40)
    record = models.OneToOneField(SubjectRecord, models.PROTECT, related_name="+")

    def __str__(self) -> str:
        return f"the key for {self.name}"
