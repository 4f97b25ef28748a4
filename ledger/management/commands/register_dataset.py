"""`manage.py register_dataset NAME FILE`: tell the ledger which samples a training set has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from ledger.management.base import LedgerCommand
from ledger.workflow.datasets import register_file
from ledger.workflow.errors import WorkflowError


class Command(LedgerCommand):
    """The same file again changes nothing; another one takes its place for requests from then on."""

    help = (
        "Register a sample index: FILE is CSV or JSON lines, one line per training sample in the training "
        "set's order, with id, class and further fields that are not personal."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="the data set, as models and requests call it")
        parser.add_argument("file", type=Path)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            index = register_file(options["name"], options["file"])
        except WorkflowError as error:
            raise CommandError(error.sentence) from error
        fields = ", ".join(["class", *index.fields])
        self.stdout.write(f"{index.samples} samples of {index.name}, fields {fields}, digest {index.digest}")
