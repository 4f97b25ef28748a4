"""The agent's side of proving on several machines: put columns out, wake workers, check and collect proofs.

What is put out is kept short, one proof more for each that is under way, so that secrets do not pile up in the
shared folder; a proof's columns go as soon as it is collected. Every proof is verified before it is kept, so a
machine that computes wrongly costs an attempt and not the claim. However the agent ends, it takes the rest back. If
it is killed outright, workers finish what was put out, and the next run collects it.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from prover_worker.backend import Backend, Kind
from prover_worker.challenge import Challenge
from prover_worker.errors import AgentError, ProvingFailed, VerifierBroke
from prover_worker.field import Vector
from prover_worker.release import Release
from prover_worker.work_columns import format_columns
from prover_worker.work_folder import Site
from prover_worker.work_run import TAKEN_BACK, Terms, WorkRun

logger = logging.getLogger(__name__)

_AHEAD: Final = 4  # proofs that wait for a worker, at least
_MOST_PATIENCE: Final = 8.0  # times the lease


#: Circuit and columns of a proof to make.
Wanted = tuple[Kind, Callable[[], list[Vector]]]
#: Item, proof, CPU seconds, peak MB.
Proved = tuple[str, bytes, float, float]


class Bell(Protocol):
    """Wakes a worker, perhaps."""

    def wake(self, run: str, item: str) -> None:
        """Tell any worker of an item."""


@dataclass
class _Told:
    """When workers were last told of an item, and which attempt that was for."""

    attempt: int
    at: float
    patience: float


@dataclass
class Crew:
    """A client's own workers. `working` says how many of them were at a proof when last looked at."""

    site: Site
    bell: Bell
    backend: Backend
    terms: Terms = field(default_factory=Terms)
    poll_seconds: float = 0.5
    working: int = 1

    def prove(self, name: str, release: Release, wanted: Mapping[str, Wanted]) -> Iterator[Proved]:
        """Yield proofs as they come in.

        Raises ProvingFailed for an item that was tried too often, AgentError when the work was taken back.
        """
        run = self.site.begin(name, release, self.terms)
        try:
            yield from self._collect(run, name, release, dict(wanted))
        except BaseException:
            run.take_back()
            raise
        self.site.end(name)

    def _collect(self, run: WorkRun, name: str, release: Release, wanted: dict[str, Wanted]) -> Iterator[Proved]:
        told: dict[str, _Told] = {}
        while wanted:
            if not run.is_open():
                raise AgentError(TAKEN_BACK)
            for item in sorted(run.finished().intersection(wanted)):
                made = self._checked(run, release, wanted[item][0], item)
                if made is not None:
                    yield made
                    run.forget(item)
                    del wanted[item]
                    told.pop(item, None)
            held = run.held()
            self.working = max(1, len(held))
            for item in [item for item in wanted if item not in told]:
                if len(told) - len(held) >= max(_AHEAD, len(held)):
                    break
                run.put(item, format_columns(wanted[item][1]()))
                told[item] = _Told(-1, 0.0, self.terms.lease)
            for item, when in told.items():
                if item not in held:
                    self._tell(run, name, item, when)
            if wanted:
                time.sleep(self.poll_seconds)

    def _tell(self, run: WorkRun, name: str, item: str, told: _Told) -> None:
        """Wake a worker: for every attempt once, and again in growing breaks, as messages can be lost."""
        ended, now = run.ended(item), time.monotonic()
        if ended is None or run.made(item):  # taken or done since
            return
        attempt, why = ended
        if attempt >= self.terms.attempts:
            raise ProvingFailed(
                f"{item} was tried {attempt} times, the last time so: {why}; what is finished is kept, "
                "so mend that and run the same command again"
            )
        if attempt > told.attempt:
            if attempt:
                logger.warning("%s, attempt %d: %s", item, attempt, why)
            told.patience = self.terms.lease
        elif now - told.at < told.patience:
            return
        else:
            if run.is_full():
                logger.warning("the disk that holds %s is full: workers wait until there is room", run.path)
            told.patience = min(2 * told.patience, _MOST_PATIENCE * self.terms.lease)
        self.bell.wake(name, item)
        told.attempt, told.at = attempt, now

    def _checked(self, run: WorkRun, release: Release, kind: Kind, item: str) -> Proved | None:
        """A proof that was handed in, unless it is none: then that attempt was in vain."""
        try:
            made = run.read(item)
            if self.backend.verify(kind, release.files(kind), bytes.fromhex(made.proof)):
                return item, bytes.fromhex(made.proof), made.seconds, made.peak_mb
            reason = "the proof that was handed in does not verify"
        except VerifierBroke as error:
            raise ProvingFailed(f"{error}; what is finished is kept, so run the same command again") from error
        except AgentError as error:
            reason = str(error)
        run.reject(item, reason)
        return None


def name_of(release: Release, challenge: Challenge) -> str:
    """The name of a run: another one for every claim, every continuation and every circuit."""
    numbers = [challenge.beta, challenge.gamma, *challenge.rho]
    said = bytes.fromhex(release.predicate.relation.vk_sha256) + b"".join(x.to_bytes(32, "big") for x in numbers)
    return hashlib.sha256(b"unlearning-ledger/run/v1\0" + said).hexdigest()[:32]
