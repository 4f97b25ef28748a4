"""`manage.py report SCOPE [UUID]`: an audit report as PDF, JSON or tables, written to a file."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from ledger.management.base import LedgerCommand
from ledger.reports.errors import ReportError
from ledger.reports.make import FORMATS, make
from ledger.reports.schema import About, json_schema
from ledger.workflow.errors import WorkflowError


class Command(LedgerCommand):
    """Persons are not named in it."""

    help = "Write an audit report on a request, a window, a client or a period."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("scope", choices=["request", "window", "client", "period", "schema"])
        parser.add_argument("id", nargs="?", type=uuid.UUID, help="UUID of the request, window or client")
        parser.add_argument("--since", type=_moment, help="a period's first day, as 2026-01-31")
        parser.add_argument("--until", type=_moment, help="the day after a period's last one")
        parser.add_argument("--format", choices=list(FORMATS), default="pdf")
        parser.add_argument("--output", type=Path, help="default: report-SCOPE-UUID and the format's ending")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["scope"] == "schema":
            self.stdout.write(json.dumps(json_schema(), indent=2, ensure_ascii=False))
            return
        name = None if options["id"] is None else str(options["id"])
        about = About(scope=options["scope"], id=name, since=options["since"], until=options["until"])
        report_id = uuid.uuid4()
        try:
            _, data = make(report_id, about, options["format"])
        except WorkflowError as error:
            raise CommandError(error.sentence) from error
        except ReportError as error:
            raise CommandError(str(error)) from error
        ending = FORMATS[options["format"]][1]
        path: Path = options["output"] or Path(f"report-{about.scope}-{name or report_id}.{ending}")
        path.write_bytes(data)
        self.stdout.write(f"wrote {path} ({len(data)} bytes)")


def _moment(text: str) -> datetime:
    """A day or a moment; without a zone it is UTC."""
    moment = datetime.fromisoformat(text)
    return timezone.make_aware(moment, timezone=UTC) if timezone.is_naive(moment) else moment
