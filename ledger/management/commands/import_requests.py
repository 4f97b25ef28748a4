"""`manage.py import_requests FILE`: file the deletion requests of a CSV file or of JSON lines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from ledger.management.base import LedgerCommand
from ledger.workflow import import_lines, imports
from ledger.workflow.actors import SYSTEM
from ledger.workflow.errors import WorkflowError

_FORMATS: dict[str, import_lines.Format] = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}


class Command(LedgerCommand):
    """Each line is filed or refused by itself; the same file again files nothing twice."""

    help = "File the deletion requests of FILE (.csv or .jsonl); prints every line that was refused, and why."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--dry-run", action="store_true", help="only say what would happen to each line")
        parser.add_argument("--report", type=Path, help="write what became of every line there, as JSON lines")

    def handle(self, *args: Any, **options: Any) -> None:
        path: Path = options["file"]
        if path.suffix not in _FORMATS:
            raise CommandError(f"a file of requests ends in {', '.join(_FORMATS)}, got {path.name}")
        try:
            text = path.read_bytes().decode("utf-8-sig")
            summary = imports.import_text(text, _FORMATS[path.suffix], actor=SYSTEM, dry_run=options["dry_run"])
        except (OSError, UnicodeDecodeError) as error:
            raise CommandError(f"{path} cannot be read as UTF-8 text: {error}") from error
        except WorkflowError as error:
            raise CommandError(error.sentence) from error
        if options["report"]:
            options["report"].write_text("".join(json.dumps(line.json()) + "\n" for line in summary.lines))
        for line in summary.lines:
            if line.result == "refused":
                self.stdout.write(f"line {line.number}: {line.detail}")
        filed = "would be filed" if options["dry_run"] else "filed"
        refused = summary.count("refused")
        self.stdout.write(
            f"{summary.count('filed', 'would-file')} {filed}, {summary.count('already')} filed before, "
            f"{refused} refused"
        )
        if refused:
            raise CommandError(f"{refused} of {len(summary.lines)} lines were refused: mend them and import again")
