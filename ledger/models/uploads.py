"""Files that clients are sending in parts. Which parts are there, the files say: see `ledger.uploads`."""

from __future__ import annotations

import uuid

from django.db import models


class Upload(models.Model):
    """A file under way; the row ends with it, whole or given up."""

    uuid = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey("ledger.Client", models.PROTECT, related_name="uploads")
    sha256 = models.CharField(max_length=64, help_text="of the whole file")
    size = models.BigIntegerField(help_text="bytes of the whole file")
    part_size = models.IntegerField(help_text="bytes of every part but the last")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(db_index=True)

    class Meta:
        ordering = ["created_at"]
        constraints = [models.UniqueConstraint(fields=["owner", "sha256"], name="one_upload_per_file")]

    def __str__(self) -> str:
        return f"{self.sha256[:12]}… ({self.size} bytes)"

    @property
    def parts(self) -> int:
        """How many parts make the whole."""
        return -(-self.size // self.part_size)

    def size_of(self, number: int) -> int:
        """Bytes of part `number`, counted from 1."""
        return min(self.part_size, self.size - (number - 1) * self.part_size)
