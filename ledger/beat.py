"""Celery's beat, for machines whose clock is set back."""

from __future__ import annotations

from typing import Any

from celery.beat import PersistentScheduler


class SteadyScheduler(PersistentScheduler):
    """Rounds go on at their pace when the clock goes back.

    Celery notes when it ran a task last and waits for that time and an interval: a clock that was ahead by three
    days, and was put right, would stop every round for three days.
    """

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """One iteration; what ran in the future ran just now."""
        now = self.app.now()
        ahead = [entry for entry in self.schedule.values() if entry.last_run_at > now]
        for entry in ahead:
            entry.last_run_at = now
        if ahead:
            self._heap = None  # its times are of the clock as it was
        return float(super().tick(*args, **kwargs))
