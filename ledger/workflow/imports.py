"""Importing files of deletion requests: each line is filed or refused alone, and told so in a report.

Lines are filed some hundreds in a transaction. An import that is interrupted has filed whole lines only, and is
simply run again: `ledger.workflow.import_lines` says how a line is known. Files and reports may name people, so
both are sealed; the file goes when it is read, the report some weeks later.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from django.conf import settings
from django.utils import timezone, translation

from ledger import queue, vault
from ledger.models import Job, RequestImport
from ledger.workflow.actors import Actor
from ledger.workflow.errors import WorkflowError
from ledger.workflow.events import record
from ledger.workflow.filing import Filing, file_many
from ledger.workflow.import_lines import Format, expect_size, parse
from ledger.workflow.step import exclusive, get_or_refuse

Report = Callable[[int, int], None]

BATCH: Final = 500
AT_ONCE: Final = 500  # lines that a web request files while its caller waits


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
    parsed = list(parse(text, form))
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


@exclusive
def receive_import(text: str, form: Format, *, actor: Actor, dry_run: bool = False) -> RequestImport:
    """Keep a large file, sealed, and let a worker import it. Raises WorkflowError (422) as `import_text`."""
    expect_size(text)
    next(parse(text, form), None)  # a bad header is refused right away
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
    next(parse(text, form), None)  # a bad header is refused in the reader's language
    with translation.override(settings.LANGUAGE_CODE):  # the report is kept, and read by programs too
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


def _refused(number: int, error: WorkflowError) -> Line:
    return Line(number, "refused", code=error.code, detail=error.sentence)
