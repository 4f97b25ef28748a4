"""Reading files of deletion requests: CSV with a header, or one JSON object per line.

Columns of CSV, and members of JSON lines: `regulation`, `subject`, `dataset`, one of `class`, `classes`, `samples`
and `query`, and where known `receivedAt`, `subjectRequestId`, `statusCallbackUrls`, `allowDuplicate`. In CSV lists
are separated by semicolons and a query is JSON; a JSON line may have `forget` instead of `dataset` and the rest. A
line needs `receivedAt` or `subjectRequestId`: by them it is known again, so that the same file can be imported
twice and files nothing twice.
"""

from __future__ import annotations

import csv
import io
import json
import uuid
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final, Literal

from django.utils.translation import gettext as _

from ledger.statements import canonical
from ledger.statements.errors import StatementError
from ledger.workflow.errors import WorkflowError
from ledger.workflow.filing import Filing

Format = Literal["csv", "jsonl"]

MAX_LINES: Final = 100_000
MAX_BYTES: Final = 32 * 1024 * 1024
_PARTS: Final = ("class", "classes", "samples", "query")
_MEMBERS: Final = (
    "forget", "regulation", "subject", "dataset", *_PARTS, "receivedAt", "subjectRequestId", "statusCallbackUrls",
    "allowDuplicate",
)  # fmt: skip


def count_lines(text: str) -> int:
    """Lines that are not empty: how large the work is."""
    return sum(bool(line.strip()) for line in text.splitlines())


def parse(text: str, form: Format) -> Iterator[tuple[int, Filing | WorkflowError]]:
    """Each line's number and what it says, or what is wrong with it."""
    expect_size(text)
    rows = _from_csv(text) if form == "csv" else _from_jsonl(text)
    for number, row in rows:
        try:
            yield number, row if isinstance(row, WorkflowError) else _filing(row)
        except WorkflowError as error:
            yield number, error


def expect_size(text: str) -> None:
    """Raise WorkflowError (422) for a file without lines, and for one that is too large."""
    lines = count_lines(text)
    if not lines:
        raise WorkflowError("bad-file", _("the file holds no line"), 422)
    if lines > MAX_LINES + 1 or len(text) > MAX_BYTES:
        raise WorkflowError(
            "bad-file",
            _("a file has at most %(max_lines)s lines and %(max_bytes)s characters, got %(lines)s and %(text)s")
            % {"max_lines": MAX_LINES, "max_bytes": MAX_BYTES, "lines": lines, "text": len(text)},
            422,
        )


def _from_csv(text: str) -> Iterator[tuple[int, dict[str, Any] | WorkflowError]]:
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)
    try:
        header = next(reader, [])
    except csv.Error as error:
        raise WorkflowError(
            "bad-file", _("line 1: %(error)s; expected a CSV header") % {"error": error}, 422
        ) from error
    unknown = [name for name in header if name not in _MEMBERS or name == "forget"]
    if unknown or len(set(header)) != len(header) or not {"regulation", "subject", "dataset"} <= set(header):
        raise WorkflowError(
            "bad-file",
            _("line 1: got the columns %(header)s; expected regulation, subject, dataset and some of %(members)s")
            % {"header": ", ".join(header)[:300], "members": ", ".join(_MEMBERS[4:])},
            422,
        )
    while True:
        first = reader.line_num + 1
        try:
            values = next(reader, None)
        except csv.Error as error:
            yield first, _bad(f"this is no CSV: {error}")
            continue
        if values is None:
            return
        if not values:
            continue
        if len(values) != len(header):
            yield first, _bad(f"got {len(values)} values, expected {len(header)}, one per column")
            continue
        filled = {name: value for name, value in zip(header, values, strict=True) if value != ""}
        try:
            yield first, _typed(filled)
        except WorkflowError as error:
            yield first, error


def _typed(row: dict[str, str]) -> dict[str, Any]:
    """CSV's text as the JSON that it stands for."""
    typed: dict[str, Any] = dict(row)
    if "class" in row:
        typed["class"] = _number(row["class"])
    if "classes" in row:
        typed["classes"] = [_number(part) for part in _parts(row["classes"])]
    for name in ("samples", "statusCallbackUrls"):
        if name in row:
            typed[name] = _parts(row[name])
    if "query" in row:
        try:
            typed["query"] = canonical.loads(row["query"].encode(), "query")
        except (StatementError, UnicodeEncodeError) as error:
            raise _bad(str(error)) from error
    return typed


def _from_jsonl(text: str) -> Iterator[tuple[int, dict[str, Any] | WorkflowError]]:
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = canonical.loads(line.encode(), "this line")
        except (StatementError, UnicodeEncodeError) as error:
            yield number, _bad(str(error))
            continue
        if isinstance(row, dict):
            yield number, row
        else:
            yield number, _bad(f"got {type(row).__name__}, expected an object")


def _filing(row: Mapping[str, Any]) -> Filing:
    """The members of a line as what `filing` takes. Raises WorkflowError (422)."""
    unknown = sorted(set(row) - set(_MEMBERS))
    if unknown:
        raise _bad(f"got the member {unknown[0]!r:.80}, expected some of {', '.join(_MEMBERS)}")
    for name in ("regulation", "subject"):
        if not isinstance(row.get(name), str):
            raise _bad(f"{name} is text and has to be there")
    if "receivedAt" not in row and "subjectRequestId" not in row:
        raise _bad("receivedAt or subjectRequestId has to be there: by them the line is known when it comes again")
    urls = row.get("statusCallbackUrls", [])
    if not isinstance(urls, list) or not all(isinstance(url, str) for url in urls):
        raise _bad("statusCallbackUrls is a list of texts")
    again = row.get("allowDuplicate", "")
    if not isinstance(again, str):
        raise _bad("allowDuplicate is a code, a text")
    return Filing(
        regulation=row["regulation"],
        subject=row["subject"],
        forget=_forget(row),
        received_at=_time(row.get("receivedAt")),
        subject_request_id=_uuid(row.get("subjectRequestId")),
        status_callback_urls=tuple(urls),
        allow_duplicate=again,
    )


def _forget(row: Mapping[str, Any]) -> Mapping[str, Any]:
    parts = {name: row[name] for name in ("dataset", *_PARTS) if name in row}
    if "forget" not in row:
        return parts
    if parts or not isinstance(row["forget"], Mapping):
        raise _bad("give forget as an object, or dataset and the rest beside regulation and subject, not both")
    forget: Mapping[str, Any] = row["forget"]
    return forget


def _time(value: Any) -> datetime | None:
    if value is None:
        return None
    try:
        return datetime.fromisoformat(value)
    except (TypeError, ValueError) as error:
        raise _bad(f"receivedAt is a time as in 2026-01-31T12:00:00Z, got {value!r:.80}") from error


def _uuid(value: Any) -> uuid.UUID | None:
    if value is None:
        return None
    try:
        return uuid.UUID(value)
    except (TypeError, ValueError, AttributeError) as error:
        raise _bad(f"subjectRequestId is a UUID, got {value!r:.80}") from error


def _number(text: str) -> int:
    if not (text.strip().isascii() and text.strip().isdigit() and len(text) <= 10):
        raise _bad(f"a class is a number from 0, got {json.dumps(text)[:80]}")
    return int(text)


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(";") if part.strip()]


def _bad(sentence: str) -> WorkflowError:
    return WorkflowError("bad-line", sentence, 422)
