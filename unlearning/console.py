"""What commands show while they work: a progress bar on standard error, results being for standard output."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from unlearning.progress import Progress


def console() -> Console:
    """Standard error."""
    return Console(stderr=True)


@contextmanager
def bar(title: str) -> Iterator[Progress]:
    """A bar with a title; what is yielded moves it."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Bar(*columns, console=console()) as shown:
        task = shown.add_task(title, total=1.0)
        yield lambda fraction, message: shown.update(task, completed=fraction, description=f"{title}: {message}")
