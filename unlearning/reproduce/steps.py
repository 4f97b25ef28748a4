"""Finished steps of an experiment as files, so that an interrupted run continues where it was."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from unlearning import backbones
from unlearning.progress import Progress, silent


def plain(settings: Any) -> Any:
    """Settings as JSON has them: named tuples, at any depth, as objects."""
    if hasattr(settings, "_asdict"):
        return {name: plain(value) for name, value in settings._asdict().items()}
    return settings


class Steps:
    """One run's steps, in a folder of its own: settings that differ give another folder.

    A step's result is JSON (`figures`) or named tensors (`weights`); it is computed once and read afterwards.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], progress: Progress | None, expected: int) -> None:
        """`expected`: about how many steps there will be, for the progress callback."""
        text = json.dumps(dict(settings), sort_keys=True)
        self.folder = folder / hashlib.sha256(text.encode()).hexdigest()[:12]
        self.folder.mkdir(parents=True, exist_ok=True)
        self._write(self.folder / "settings.json", text + "\n")
        self._progress, self._expected, self._done = progress or silent, expected, 0

    def figures(self, name: str, compute: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
        """The JSON object that `compute` gives, or gave."""
        path = self.folder / f"{name}.json"
        if not path.exists():
            self._write(path, json.dumps(compute(), indent=2) + "\n")
        self._report(name)
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found

    def weights(self, name: str, compute: Callable[[], Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """The named tensors that `compute` gives, or gave."""
        path = self.folder / f"{name}.safetensors"
        if not path.exists():
            beside = path.with_suffix(".part")
            backbones.save(beside, compute())
            beside.replace(path)
        self._report(name)
        return backbones.load(path)

    def checkpoint(self, name: str) -> Path:
        """Where a long training keeps its state."""
        return self.folder / f"{name}.pt"

    def _report(self, name: str) -> None:
        self._done += 1
        self._progress(min(1.0, self._done / self._expected), name)

    def _write(self, path: Path, text: str) -> None:
        beside = path.with_name(path.name + ".part")
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
