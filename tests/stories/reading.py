"""Reading audit bundles as an outsider would."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from collections.abc import Iterator
from typing import Any


def predicate(bundle: bytes, index: int) -> Any:
    """What a log entry of the bundle says."""
    return dict(_entries(bundle))[index]


def predicates(bundle: bytes) -> list[Any]:
    """What all of them say."""
    return [said for _, said in _entries(bundle)]


def _entries(bundle: bytes) -> Iterator[tuple[int, Any]]:
    with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
        for line in archive.read("entries.txt").splitlines():
            index, leaf = line.split(b" ", 1)
            yield int(index), json.loads(base64.b64decode(json.loads(leaf)["payload"]))["predicate"]
