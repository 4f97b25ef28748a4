"""How the agent shows what it is doing: bars with the time left, JSON lines, or nothing; and always its log.

The time left of a stage is what its remaining parts take, at the pace of the later half of those made in this run:
that of this hour, and not of a morning when the machine was idle. Parts that an earlier run had finished do not
count: a resumed proof would otherwise promise to be over at once. Of parts that are made several at once, the last
round takes as long as every other one, however few are left.
"""

from __future__ import annotations

import json
import logging
import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from prover_worker.client_base import Report

logger = logging.getLogger(__name__)


class Estimate:
    """Seconds left of the stage under way. `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._stage, self._total, self._now = "", 0, 0.0
        self._spent: list[tuple[int, float]] = []  # parts done, and seconds spent on them by all that were at it

    def left(self, stage: str, done: int, total: int, at_once: int = 1) -> float | None:
        """Take note of `done` of `total` parts, `at_once` under way; None until a part was finished in this run."""
        now = self._clock()
        if (stage, total) != (self._stage, self._total) or done < self._spent[-1][0]:
            self._stage, self._total, self._spent = stage, total, [(done, 0.0)]
        elif done > self._spent[-1][0]:
            self._spent.append((done, self._spent[-1][1] + at_once * (now - self._now)))
        else:
            return self._ahead(done, total, at_once)
        self._now = now
        return self._ahead(done, total, at_once)

    def _ahead(self, done: int, total: int, at_once: int) -> float | None:
        first, made = self._spent[0][0], done - self._spent[0][0]
        if not made:
            return None
        spent = self._spent[-1][1]
        if made < 2 * at_once:  # who began together ends together: the first one's end has paid for all of a round
            each = spent / (at_once * math.ceil(made / at_once))
        elif made < 4 * at_once:  # half of what is under way is paid for
            each = spent / (made + (at_once - 1) / 2)
        else:
            begin = first + made - made // (2 * at_once) * at_once  # whole rounds
            before, earlier = next(entry for entry in reversed(self._spent) if entry[0] <= begin)
            each = (spent - earlier) / (done - before)
        return each * (math.ceil((total - first) / at_once) - made / at_once)


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

    def report(stage: str, done: int, total: int, at_once: int = 1) -> None:
        log(stage, done, total)
        left = estimate.left(name_of(stage), done, total, at_once)
        line = {"stage": stage, "done": done, "total": total}
        if left is not None:
            line["secondsLeft"] = round(left)
        print(json.dumps(line), file=sys.stderr, flush=True)

    return report


def _logged() -> Report:
    """Into the log: the beginning of each stage, and its end."""
    current = ""

    def report(stage: str, done: int, total: int, at_once: int = 1) -> None:
        del at_once
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
        TextColumn("{task.description:<36}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), _Left(),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True)) as bars:
        shown: dict[str, TaskID] = {}
        estimate = Estimate()

        def show(stage: str, done: int, total: int, at_once: int = 1) -> None:
            log(stage, done, total)
            name = name_of(stage)
            if name not in shown:
                _complete(bars)  # one stage follows another: what came before is over
                shown[name] = bars.add_task(name, total=total, end=None)
            seconds = estimate.left(name, done, total, at_once)
            end = time.monotonic() + seconds if seconds is not None and done < total else None
            bars.update(shown[name], completed=done, total=total, description=stage, end=end)

        yield show
        _complete(bars)


def _complete(bars: Progress) -> None:
    for task in bars.tasks:
        bars.update(task.id, completed=task.total, end=None)


class _Left(ProgressColumn):
    """The time left, which goes down between one part and the next."""

    def render(self, task: Task) -> Text:
        end = task.fields["end"]
        return Text("" if end is None else f"{_duration(max(0.0, end - time.monotonic()))} left")


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes}:{rest:02d} min" if minutes else f"{rest} s"
