"""Secrets that live as files in the data folder: made once, mode 0600, never overwritten."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from functools import cache
from pathlib import Path

SECRET_BYTES = 32


def file_secret(path: Path) -> str:
    """The secret in `path`, 64 hex digits where it was made here, first of all. Processes may race for it."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(SECRET_BYTES))
            file.flush()
            os.fsync(file.fileno())
        # link() refuses to replace: of two processes one wins and both read the winner's secret.
        with suppress(FileExistsError):
            os.link(draft, path)
        draft.unlink()
    return path.read_text().strip()


@cache
def secret_key() -> str:
    """Django's SECRET_KEY where the environment gives none."""
    from django.conf import settings

    return file_secret(settings.LEDGER_DATA_DIR / "keys" / "django-secret")
