"""`manage.py fsck`: the log and every table checked against the leaves."""

from __future__ import annotations

import os
from typing import Any

from django.core.management.base import CommandError, CommandParser
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from ledger.fsck.run import check_and_record
from ledger.management.base import LedgerCommand


class Command(LedgerCommand):
    """Exit status 0: everything agrees. 1: something does not; it is named, and recorded as an alarm."""

    help = "Rebuild the tree and every table from the log's leaves and compare; check signatures and order."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes that read and verify")
        parser.add_argument("--log-only", action="store_true", help="leave the other tables out")

    def handle(self, *args: Any, **options: Any) -> None:
        columns = (TextColumn("{task.description:<8}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True)) as bars:
            shown: dict[str, TaskID] = {}

            def report(stage: str, done: int, total: int) -> None:
                if stage not in shown:
                    shown[stage] = bars.add_task(stage)
                bars.update(shown[stage], completed=done, total=total)

            run = check_and_record(report, max(1, options["jobs"]), tables=not options["log_only"])
        if run.problem:
            raise CommandError(run.problem, returncode=1)
        rate = run.entries / run.seconds if run.seconds else 0.0
        self.stdout.write(f"{run.entries} entries hold, in {run.seconds:.1f} s ({rate:.0f} a second)")
