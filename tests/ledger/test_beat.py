"""Rounds go on when somebody sets the clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from celery.beat import PersistentScheduler

from ledger import queue
from ledger.beat import SteadyScheduler

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECONDS = {"often": 2.0, "seldom": 5.0, "daily": 86_400.0}


class Clock:
    """What Celery takes for the time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = NOON
        monkeypatch.setattr(Celery, "now", lambda _app: self.now)


def ran(kind: type[PersistentScheduler], folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What runs in the eight seconds after a clock that was three days ahead was put right."""
    app = Celery("t", broker="memory://", set_as_current=False)
    app.conf.result_expires = None  # Celery would add a round of its own
    app.conf.beat_schedule = {name: {"task": name, "schedule": each} for name, each in SECONDS.items()}
    clock, names = Clock(monkeypatch), list[str]()
    monkeypatch.setattr(kind, "apply_entry", lambda _self, entry, **_: names.append(entry.name))
    beat: Any = kind(app=app, schedule_filename=str(folder / "schedule"))

    def pass_by(seconds: int) -> None:
        for _ in range(seconds):
            clock.now += timedelta(seconds=1)
            for _ in SECONDS:
                beat.tick()

    pass_by(8)
    clock.now += timedelta(days=3)
    pass_by(8)
    assert set(names) == set(SECONDS)
    clock.now -= timedelta(days=3)
    names.clear()
    pass_by(8)
    beat.close()
    return names


def test_a_clock_that_is_put_back_stops_no_round(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ran(SteadyScheduler, tmp_path, monkeypatch)
    assert names.count("often") >= 3
    assert names.count("seldom") >= 1
    assert names.count("daily") == 0


def test_celery_alone_would_wait_for_days(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Why there is a scheduler of our own."""
    assert ran(PersistentScheduler, tmp_path, monkeypatch) == []


def test_the_ledger_uses_it() -> None:
    assert queue.app.conf.beat_scheduler == f"{SteadyScheduler.__module__}:{SteadyScheduler.__name__}"
