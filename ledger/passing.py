"""Errors that pass by themselves, or once an operator has made room: the same work is right again then."""

from __future__ import annotations

import errno
from typing import Final

from django.db import InterfaceError, OperationalError

_DATABASE: Final = (OperationalError, InterfaceError)
_STORAGE: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS}


def what_is_away(error: BaseException) -> str | None:
    """`database` or `storage`, where `error` says no more than that it is away or full; None for any other."""
    if isinstance(error, _DATABASE):
        return "database"
    if isinstance(error, OSError) and error.errno in _STORAGE:
        return "storage"
    return None
