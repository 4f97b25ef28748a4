"""The one JSON spelling that is signed and logged, and a reader that lets nothing ambiguous through.

Canonical here means: UTF-8, keys sorted, no white space, no escapes that JSON does not demand.
"""

from __future__ import annotations

import json
from typing import Any

from ledger.statements.errors import StatementError


def dumps(value: Any) -> bytes:
    """Return `value` as canonical JSON; raises StatementError for NaN, infinities and lone surrogates."""
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        return text.encode()
    except (ValueError, RecursionError) as error:
        raise StatementError(f"this value has no canonical JSON: {error}") from error


def loads(data: bytes, what: str) -> Any:
    """Parse strict JSON in UTF-8.

    Raises StatementError, naming `what`, for anything else: a key that occurs twice, NaN and infinities, a
    lone surrogate, nesting too deep to read.
    """
    try:
        value = json.loads(
            data.decode("utf-8"), object_pairs_hook=_distinct, parse_constant=_refuse, parse_float=_finite
        )
        # What cannot be written again must not be read either: a lone surrogate, which only an escape can bring in.
        if b"\\u" in data:
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise StatementError(f"{what} is not strict JSON: {error}") from error
    return value


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise StatementError(f"the key {twice!r} occurs twice in one object")
    return members


def _refuse(constant: str) -> Any:
    raise StatementError(f"{constant} is no JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise StatementError(f"the number {text[:40]} is too large")
    return value
