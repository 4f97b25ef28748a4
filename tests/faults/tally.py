"""How many faults were tried, how many survived, and what was lost: the last line of `make faults`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Tally:
    """Of one run."""

    tried: list[str] = field(default_factory=list)
    survived: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    @contextmanager
    def faults(self, *names: str) -> Iterator[None]:
        """They survived if the body, with its reckoning, ends well."""
        self.tried += names
        yield
        self.survived += names

    def line(self) -> str:
        figures = {"faults_tried": len(self.tried), "faults_survived": len(self.survived), "lost": len(self.lost)}
        return json.dumps(figures)


TALLY = Tally()
