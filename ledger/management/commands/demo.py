"""`manage.py demo`: the whole story, from a deletion request to a certificate that an outsider can check."""

from __future__ import annotations

import json
import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console

from ledger.demo import report
from ledger.demo.officer import DemoError
from ledger.demo.profiles import PROFILES
from ledger.demo.story import FORGET, Story, tell
from ledger.models import CircuitRelease
from ledger.services import ServiceError, free_port

CHEATS = ("skip", "keep", "nudge", "swap", "idle", "plain", "range")
DIRECTED_ONLY = "plain"  # without forget directions it is the prescribed operator


class Command(BaseCommand):
    """Exits non-zero when anything it promises did not happen. Can be interrupted and run again."""

    requires_system_checks = []  # keys and tables are made on the way
    help = "Run the demonstration with real processes and real proofs; ends with one JSON line."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dataset", choices=sorted(FORGET), default="digits")
        parser.add_argument("--profile", choices=sorted(PROFILES), default="full", help="how large the model is")
        parser.add_argument(
            "--cheat",
            choices=(*CHEATS, "all"),
            default="skip",
            help="how the third client cheats; `all`: one by one; `plain` needs --directions",
        )
        parser.add_argument(
            "--directions", action="store_true", help="masks come with forget directions, and proofs cover them"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        console = Console()
        cheats: tuple[str, ...] = CHEATS if options["cheat"] == "all" else (options["cheat"],)
        if not options["directions"]:
            cheats = tuple(cheat for cheat in cheats if cheat != DIRECTED_ONLY)
        if not cheats:
            raise CommandError("the cheat `plain` ignores forget directions: it needs --directions")
        story = Story(console, options["dataset"], options["profile"], cheats, directed=options["directions"])
        start = time.monotonic()
        try:
            audit, rows, officer = tell(story, free_port())
        except (DemoError, ServiceError) as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt:
            raise CommandError("interrupted; run it again, nothing that is in the log is lost") from None
        parameters = CircuitRelease.objects.latest("entry").parameters
        per_chunk = parameters["blocks"] * parameters["blockSize"]
        console.print()
        console.print(report.accuracy_table(story.clients, rows, FORGET[options["dataset"]]))
        console.print(report.proof_table(story, audit, per_chunk))
        report.closing_words(console, story, officer)
        self.stdout.write(json.dumps(report.summary(story, audit, time.monotonic() - start, per_chunk)))
