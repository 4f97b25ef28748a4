"""How long work reports on itself: a callback that gets a fraction in [0, 1] and a short message."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[float, str], None]


def silent(fraction: float, message: str) -> None:
    """The progress callback that tells nobody."""


def part_of(progress: Progress | None, start: float, end: float) -> Progress:
    """A callback for one stage of longer work: its 0 to 1 becomes `start` to `end` of the whole."""
    if progress is None:
        return silent
    whole = progress

    def report(fraction: float, message: str) -> None:
        whole(start + (end - start) * fraction, message)

    return report
