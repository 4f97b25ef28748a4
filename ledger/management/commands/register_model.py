"""`manage.py register_model DIR`: log a global model made by `python -m unlearning train`."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser
from pydantic import ValidationError

from ledger.management.base import LedgerCommand
from ledger.statements.predicates import ModelRelease
from ledger.workflow.datasets import register_file
from ledger.workflow.errors import WorkflowError
from ledger.workflow.releases import register_model


class Command(LedgerCommand):
    """Logs the model and stores its file; the same model again changes nothing."""

    help = "Log a global model: DIR holds global.safetensors, architecture.json, targets.json, samples.csv."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("folder", type=Path)
        parser.add_argument("--name", required=True)
        parser.add_argument("--dataset", required=True, help="training data, as unlearning.datasets calls it")
        parser.add_argument("--budget", type=float, default=0.04, help="share of the target weights to mask")
        parser.add_argument("--samples", type=int, default=480, help="gradients per mask")
        parser.add_argument("--block-size", type=int, default=64)

    def handle(self, *args: Any, **options: Any) -> None:
        folder: Path = options["folder"]
        weights = folder / "global.safetensors"
        mask_config = {
            "budget": options["budget"],
            "samples": options["samples"],
            "blockSize": options["block_size"],
            "score": "saliency",
            "seed": 0,
        }
        try:
            predicate = ModelRelease(
                name=options["name"],
                file_sha256=hashlib.sha256(weights.read_bytes()).hexdigest(),
                architecture=json.loads((folder / "architecture.json").read_bytes()),
                targets=json.loads((folder / "targets.json").read_bytes()),
            )
            model = register_model(predicate, weights, options["dataset"], mask_config)
            samples = folder / "samples.csv"
            index = register_file(options["dataset"], samples) if samples.exists() else None
        except (OSError, ValueError, ValidationError) as error:
            raise CommandError(f"{folder} holds no complete model: {error}") from error
        except WorkflowError as error:
            raise CommandError(error.sentence) from error
        self.stdout.write(f"model {model.uuid} at log index {model.entry.index}")
        if index is not None:
            self.stdout.write(f"{index.samples} samples of {index.name} can be looked up")
