"""Files of deletion requests: CSV with a header, or one JSON object per line. Each line is filed or refused alone.

Columns of CSV, and members of JSON lines: `regulation`, `subject`, `dataset`, one of `class`, `classes`, `samples`
and `query`, and where known `receivedAt`, `subjectRequestId`, `statusCallbackUrls`, `allowDuplicate`. In CSV lists
are separated by semicolons and a query is JSON; a JSON line may have `forget` instead of `dataset` and the rest. A
line needs `receivedAt` or `subjectRequestId`: by them it is known again, so that the same file can be imported
twice and files nothing twice.

Lines are filed some hundreds in a transaction. An import that is interrupted has filed whole lines only, and is
simply run again.
"""

from __future__ import annotations

import csv
import io
import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from django.conf import settings
from django.utils import timezone

from ledger import queue, vault
from ledger.models import Job, RequestImport
from ledger.statements import canonical
from ledger.statements.errors import StatementError
from ledger.workflow.actors import Actor
from ledger.workflow.errors import WorkflowError
from ledger.workflow.events import record
from ledger.workflow.filing import Filing, file_many
from ledger.workflow.step import exclusive, get_or_refuse

Format = Literal["csv", "jsonl"]
Report = Callable[[int, int], None]

MAX_LINES: Final = 100_000
MAX_BYTES: Final = 32 * 1024 * 1024
BATCH: Final = 500
AT_ONCE: Final = 500  # lines that a web request files while its caller waits
_PARTS: Final = ("class", "classes", "samples", "query")
_MEMBERS: Final = (
    "forget", "regulation", "subject", "dataset", *_PARTS, "receivedAt", "subjectRequestId", "statusCallbackUrls",
    "allowDuplicate",
)  # fmt: skip


@dataclass(frozen=True)
class Line:
    """What became of one line. `result`: filed, already, refused; of a dry run: would-file."""

    number: int
    result: str
    request: str = ""
    code: str = ""
    detail: str = ""

    def json(self) -> dict[str, Any]:
        """For reports: empty members are left out."""
        words = {"line": self.number, "result": self.result}
        return words | {name: text for name in ("request", "code", "detail") if (text := getattr(self, name))}


@dataclass
class Summary:
    """What became of a file."""

    lines: list[Line] = field(default_factory=list)

    def count(self, *results: str) -> int:
        """Lines with one of these results."""
        return sum(line.result in results for line in self.lines)


def import_text(
    text: str, form: Format, *, actor: Actor, dry_run: bool = False, report: Report = lambda *_: None
) -> Summary:
    """File what a file holds, line by line; with `dry_run` only say what would happen.

    Raises WorkflowError (422) for a file that cannot be read line by line at all: no header, too many lines.
    """
    parsed = list(_parse(text, form))
    summary = Summary()
    for low in range(0, len(parsed), BATCH):
        batch = parsed[low : low + BATCH]
        good = [(number, filing) for number, filing in batch if isinstance(filing, Filing)]
        outcomes = dict(
            zip(
                (number for number, _ in good),
                file_many([filing for _, filing in good], actor=actor, dry_run=dry_run),
                strict=True,
            )
        )
        for number, filing in batch:
            if isinstance(filing, WorkflowError):
                summary.lines.append(_refused(number, filing))
            elif (refusal := outcomes[number].refusal) is not None:
                summary.lines.append(_refused(number, refusal))
            elif outcomes[number].created:
                name = "" if dry_run else str(outcomes[number].request)
                summary.lines.append(Line(number, "would-file" if dry_run else "filed", name))
            else:
                summary.lines.append(Line(number, "already", str(outcomes[number].request)))
        report(min(low + BATCH, len(parsed)), len(parsed))
    return summary


def count_lines(text: str) -> int:
    """Lines that are not empty: how large the work is."""
    return sum(bool(line.strip()) for line in text.splitlines())


@exclusive
def receive_import(text: str, form: Format, *, actor: Actor, dry_run: bool = False) -> RequestImport:
    """Keep a large file, sealed, and let a worker import it. Raises WorkflowError (422) as `import_text`."""
    _expect_size(text)
    next(_parse(text, form), None)  # a bad header is refused right away
    row = RequestImport.objects.create(
        format=form,
        dry_run=dry_run,
        file=vault.seal({"text": text}),
        actor_kind=actor.kind,
        actor_id=actor.id,
        actor_name=actor.name,
    )
    queue.enqueue(Job.Kind.IMPORT, row.uuid)
    return row


def run_import(import_id: uuid.UUID | str, report: Report) -> RequestImport:
    """A worker's part: import a received file, seal the report, destroy the file. Again: nothing happens."""
    row = get_or_refuse(RequestImport.objects.all(), "import", uuid=import_id)
    if row.finished_at is not None or row.file is None:
        return row
    text = vault.unseal(row.file)["text"]
    actor = Actor(row.actor_kind, row.actor_id, row.actor_name)  # type: ignore[arg-type]  # as it was stored
    summary = import_text(text, row.format, actor=actor, dry_run=row.dry_run, report=report)  # type: ignore[arg-type]
    return _finish(row.uuid, summary)


@exclusive
def import_now(text: str, form: Format, *, actor: Actor, dry_run: bool = False) -> tuple[RequestImport, Summary]:
    """Import a small file while the caller waits, and keep its report. Raises WorkflowError (422)."""
    summary = import_text(text, form, actor=actor, dry_run=dry_run)
    row = RequestImport.objects.create(
        format=form, dry_run=dry_run, actor_kind=actor.kind, actor_id=actor.id, actor_name=actor.name
    )
    return _finish(row.uuid, summary), summary


def report_lines(row: RequestImport) -> list[dict[str, Any]] | None:
    """The line-by-line report; None before it is there and after it was destroyed."""
    if row.report is None or row.report.erased_at is not None:
        return None
    lines: list[dict[str, Any]] = vault.unseal(row.report)["lines"]
    return lines


def drop_reports() -> int:
    """Destroy reports that are old: they may repeat what was wrong in a line. Returns how many."""
    limit = timezone.now() - timedelta(days=settings.LEDGER_IMPORT_REPORT_DAYS)
    old = RequestImport.objects.filter(finished_at__lt=limit, report__erased_at=None).exclude(report=None)
    records = [row.report for row in old.select_related("report") if row.report is not None]
    for sealed in records:
        vault.erase(sealed)
    return len(records)


@exclusive
def _finish(import_id: uuid.UUID, summary: Summary) -> RequestImport:
    row = RequestImport.objects.get(uuid=import_id)
    row.lines, row.finished_at = len(summary.lines), timezone.now()
    row.filed, row.already = summary.count("filed", "would-file"), summary.count("already")
    row.refused = summary.count("refused")
    row.report = vault.seal({"lines": [line.json() for line in summary.lines]})
    row.save()
    if row.file is not None:
        vault.erase(row.file)
    if not row.dry_run:
        actor = Actor(row.actor_kind, row.actor_id, row.actor_name)  # type: ignore[arg-type]  # as it was stored
        counts = {"filed": row.filed, "already": row.already, "refused": row.refused}
        record("requests.imported", actor=actor, data={"import": str(row.uuid), **counts})
    return row


def _parse(text: str, form: Format) -> Iterator[tuple[int, Filing | WorkflowError]]:
    """Each line's number and what it says, or what is wrong with it."""
    _expect_size(text)
    rows = _from_csv(text) if form == "csv" else _from_jsonl(text)
    for number, row in rows:
        try:
            yield number, row if isinstance(row, WorkflowError) else _filing(row)
        except WorkflowError as error:
            yield number, error


def _expect_size(text: str) -> None:
    lines = count_lines(text)
    if not lines:
        raise WorkflowError("bad-file", "the file holds no line", 422)
    if lines > MAX_LINES + 1 or len(text) > MAX_BYTES:
        raise WorkflowError(
            "bad-file",
            f"a file has at most {MAX_LINES} lines and {MAX_BYTES} characters, got {lines} and {len(text)}",
            422,
        )


def _from_csv(text: str) -> Iterator[tuple[int, dict[str, Any] | WorkflowError]]:
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)
    try:
        header = next(reader, [])
    except csv.Error as error:
        raise WorkflowError("bad-file", f"line 1: {error}; expected a CSV header", 422) from error
    unknown = [name for name in header if name not in _MEMBERS or name == "forget"]
    if unknown or len(set(header)) != len(header) or not {"regulation", "subject", "dataset"} <= set(header):
        raise WorkflowError(
            "bad-file",
            f"line 1: got the columns {', '.join(header)[:300]}; expected regulation, subject, dataset "
            f"and some of {', '.join(_MEMBERS[4:])}",
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


def _refused(number: int, error: WorkflowError) -> Line:
    return Line(number, "refused", code=error.code, detail=error.sentence)
