"""How much of a machine proving may take: the agent's `--profile`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Profile:
    """`jobs` processes prove at once; each ends after `proofs_per_process` proofs, or stays (None).

    ezkl's memory is only given back when a process ends: one that stays and makes both kinds of proofs grows by
    what the other kind left behind. Ending costs the start of another one, about half a CPU second for each proof.
    """

    jobs: int
    proofs_per_process: int | None = None
    threads: int | None = None
    arenas: int | None = None

    def apply(self) -> None:
        """Set the number of threads, and of places that glibc takes memory from (each keeps what it once had), for
        processes that start from now on; what the caller set himself stays.
        """
        for name, value in (("RAYON_NUM_THREADS", self.threads), ("MALLOC_ARENA_MAX", self.arenas)):
            if value is not None:
                os.environ.setdefault(name, str(value))


#: Without a profile: one process that stays, with as many threads as there are processors.
STEADY: Final = Profile(jobs=1)
PROFILES: Final = {
    "edge": Profile(jobs=1, proofs_per_process=1, threads=1, arenas=1),
    "server": Profile(jobs=os.cpu_count() or 1, threads=1),
}
