"""Requests that wait for something to happen (long polling), and how many may do so at a time.

Each holds one of the web process's threads while it waits, so their number is limited, and one client gets one
place: clients that wait never keep out those that work.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final, TypeVar

from django.conf import settings

Found = TypeVar("Found")

_PAUSE: Final = 0.5  # seconds between two looks
_lock: Final = threading.Lock()
_callers: Final[set[str]] = set()
_closing: Final = threading.Event()


@contextmanager
def place(caller: str) -> Iterator[bool]:
    """A place to wait, or False: this process has none left, or the caller has one already."""
    with _lock:
        free = caller not in _callers and len(_callers) < settings.LEDGER_WAITING_REQUESTS
        if free:
            _callers.add(caller)
    try:
        yield free
    finally:
        if free:
            with _lock:
                _callers.discard(caller)


def until(look: Callable[[], list[Found]], seconds: float) -> list[Found]:
    """What `look` finds, as soon as it finds something; nothing after `seconds`, or when the process is to end.

    Each look is a transaction of its own, and none is open between them.
    """
    deadline = time.monotonic() + seconds
    while not (found := look()):
        left = deadline - time.monotonic()
        if left <= 0 or _closing.wait(min(_PAUSE, left)):
            break
    return found


def end_with_process() -> None:
    """Let SIGTERM answer those that wait, so that a web server ends at once. For the main thread."""
    if threading.current_thread() is not threading.main_thread():
        return
    before = signal.getsignal(signal.SIGTERM)
    if not callable(before):  # nobody ends this process in good order
        return

    def end(number: int, frame: FrameType | None) -> None:
        _closing.set()
        before(number, frame)

    signal.signal(signal.SIGTERM, end)
