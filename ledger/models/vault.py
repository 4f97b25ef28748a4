"""Personal data, encrypted under a key of its own and kept out of the log. `ledger.vault` reads and writes
it.
"""

from __future__ import annotations

import uuid

from django.db import models


class SubjectRecord(models.Model):
    """One sealed record: AES-256-GCM under a data key, which is itself wrapped under the master key."""

    uuid = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    ciphertext = models.BinaryField(help_text="12-byte nonce, then ciphertext and tag")
    wrapped_key = models.BinaryField(help_text="12-byte nonce, then the encrypted data key and tag")
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"sealed record {self.uuid}"
