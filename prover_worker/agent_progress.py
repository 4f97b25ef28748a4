"""How the agent shows what it is doing: bars with the time left, JSON lines, or nothing; and always its log.

The time left of a stage is what its remaining parts take at the pace of this run. Parts that an earlier run had
finished do not count towards the pace: a resumed proof would otherwise promise to be over at once.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from prover_worker.client_base import Report

logger = logging.getLogger(__name__)


class Estimate:
    """Seconds left of the stage under way. `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._stage, self._total = "", 0
        self._first, self._last, self._since = 0, 0, 0.0

    def left(self, stage: str, done: int, total: int) -> float | None:
        """Take note of `done` of `total` parts; None until a part was finished in this run."""
        now = self._clock()
        if (stage, total) != (self._stage, self._total) or done < self._last:
            self._stage, self._total, self._first, self._since = stage, total, done, now
        self._last = done
        made = done - self._first
        return (now - self._since) / made * (total - done) if made else None


def name_of(stage: str) -> str:
    """A stage's name without its detail."""
    return stage.split(":", maxsplit=1)[0]


@contextmanager
def reporter(style: str) -> Iterator[Report]:
    """A function that shows (stage, done, total): as a bar, as JSON lines for another program, or not at all."""
    log = _logged()
    if style == "none":
        yield log
    elif style == "json":
        yield _json(log)
    else:
        with _bars(log) as show:
            yield show


def _json(log: Report) -> Report:
    estimate = Estimate()

    def report(stage: str, done: int, total: int) -> None:
        log(stage, done, total)
        left = estimate.left(name_of(stage), done, total)
        line = {"stage": stage, "done": done, "total": total}
        if left is not None:
            line["secondsLeft"] = round(left)
        print(json.dumps(line), file=sys.stderr, flush=True)

    return report


def _logged() -> Report:
    """Into the log: the beginning of each stage, and its end."""
    current = ""

    def report(stage: str, done: int, total: int) -> None:
        nonlocal current
        name = name_of(stage)
        if name != current:
            logger.info("%s, %d of %d", name, done, total)
        elif done == total:
            logger.info("%s, done", name)
        current = name

    return report


@contextmanager
def _bars(log: Report) -> Iterator[Report]:
    columns = (
        TextColumn("{task.description:<36}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True)) as bars:
        shown: dict[str, TaskID] = {}
        estimate = Estimate()

        def show(stage: str, done: int, total: int) -> None:
            log(stage, done, total)
            name = name_of(stage)
            if name not in shown:
                _complete(bars)  # one stage follows another: what came before is over
                shown[name] = bars.add_task(name, total=total, left="")
            seconds = estimate.left(name, done, total)
            left = f"{_duration(seconds)} left" if seconds is not None and done < total else ""
            bars.update(shown[name], completed=done, total=total, description=stage, left=left)

        yield show
        _complete(bars)


def _complete(bars: Progress) -> None:
    for task in bars.tasks:
        bars.update(task.id, completed=task.total, left="")


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes}:{rest:02d} min" if minutes else f"{rest} s"
