"""`manage.py register_circuit DIR`: log a circuit release built by `python -m prover_worker.release`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser
from pydantic import ValidationError

from ledger.management.base import LedgerCommand
from ledger.statements.predicates import CircuitRelease
from ledger.statements.predicates.circuit_release import ROLES
from ledger.workflow.errors import WorkflowError
from ledger.workflow.releases import register_circuit


class Command(LedgerCommand):
    """Logs the release and stores its files; the same release again changes nothing."""

    help = "Log a circuit release: DIR holds predicate.json and the seven files of the release."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folder", type=Path)

    def handle(self, *args: Any, **options: Any) -> None:
        folder: Path = options["folder"]
        try:
            predicate = CircuitRelease.model_validate_json((folder / "predicate.json").read_bytes())
            release = register_circuit(predicate, {role: folder / role for role in ROLES})
        except (OSError, ValidationError) as error:
            raise CommandError(f"{folder} holds no complete circuit release: {error}") from error
        except WorkflowError as error:
            raise CommandError(error.sentence) from error
        self.stdout.write(f"circuit release at log index {release.entry.index}, SRS {release.srs_provenance}")
