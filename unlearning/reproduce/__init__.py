"""The experiments whose results stand in docs/results/: `python -m unlearning reproduce NAME`.

Each is a function `run(seeds, out, progress, work=...)`: it writes `NAME.md` and its plots into `out`, keeps
finished steps under `work`, so that an interrupted run continues, and returns the figures that are asked for.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from unlearning.errors import UnlearningError
from unlearning.progress import Progress

EXPERIMENTS: Final = {
    "class": "unlearning.reproduce.vision:run_class",
    "random": "unlearning.reproduce.vision:run_random",
    "language": "unlearning.reproduce.language:run",
}
WORK: Final = Path("var/results")
OUT: Final = Path("docs/results")


def run(
    name: str, seeds: Sequence[int], out: Path = OUT, progress: Progress | None = None, *, work: Path = WORK
) -> dict[str, Any]:
    """Run an experiment with each of `seeds`. Raises UnlearningError for an unknown name or no seeds."""
    if name not in EXPERIMENTS:
        raise UnlearningError(f"got experiment {name!r}, expected one of {', '.join(EXPERIMENTS)}")
    if not seeds or len(set(seeds)) != len(seeds) or min(seeds) < 0:
        raise UnlearningError(f"got seeds {list(seeds)}, expected different whole numbers from 0, at least one")
    module, function = EXPERIMENTS[name].split(":")
    figures: dict[str, Any] = getattr(importlib.import_module(module), function)(seeds, out, progress, work=work)
    return figures
