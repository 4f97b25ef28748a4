"""What can go wrong with a backup."""

from __future__ import annotations


class BackupError(RuntimeError):
    """A backup cannot be made, read or restored; the text says what to do."""
