"""JSON objects that people give on the command line: architectures, mask configurations, forget sets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from unlearning.errors import UnlearningError


def parse(text: str) -> dict[str, Any]:
    """The object that a text holds. Raises UnlearningError for any other text."""
    try:
        found = json.loads(text)
    except ValueError as error:
        raise UnlearningError(f"got {text!r:.100}, expected a JSON object: {error}") from error
    if not isinstance(found, dict):
        raise UnlearningError(f"got a JSON {type(found).__name__}, {text!r:.100}, expected a JSON object")
    return found


def read(path: Path) -> dict[str, Any]:
    """The object that a file holds. Raises UnlearningError for any other file, OSError for none."""
    try:
        return parse(path.read_text(encoding="utf-8"))
    except UnlearningError as error:
        raise UnlearningError(f"{path}: {error}") from error
    except UnicodeDecodeError as error:
        raise UnlearningError(f"{path} is no text in UTF-8, expected a JSON object") from error
