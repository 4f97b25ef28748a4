"""What a client's steps stand on: its folder, its keys, its ledger, and the secrets kept there."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ledger.statements import keys
from ledger.statements.predicates import CircuitRelease, ModelRelease
from ledger.statements.predicates.circuit_release import ROLES
from ledger.tlog.merkle import root_of
from prover_worker import curve, hiding
from prover_worker.agent_state import Folder
from prover_worker.backend import Backend
from prover_worker.client_keys import KEY, ClientKeys
from prover_worker.commitments import ChunkSecrets
from prover_worker.crew import Crew
from prover_worker.damage import DEFAULT_MAX_DROP, Limits
from prover_worker.errors import AgentError
from prover_worker.layout import Layout
from prover_worker.ledger_client import LedgerClient, News, Trust
from prover_worker.memory import fitting_jobs
from prover_worker.release import Release


class Report(Protocol):
    """Is told of progress."""

    def __call__(self, stage: str, done: int, total: int, at_once: int = 1) -> None:
        """So many parts of a stage are done; `at_once` are under way together."""


def silent(stage: str, done: int, total: int, at_once: int = 1) -> None:
    """Report progress to nobody."""


class ClientBase:
    """One client on one machine. All state is in `folder`; `cache` keeps proving keys.

    `jobs` processes prove at once, and each ends after `per_process` proofs, if that is a number. With a crew,
    other machines of this client prove instead.
    """

    def __init__(
        self,
        folder: Path,
        backend: Backend,
        jobs: int = 1,
        cache: Path | None = None,
        report: Report = silent,
        limits: Limits | None = None,
        per_process: int | None = None,
        crew: Crew | None = None,
    ) -> None:
        self.state = Folder(folder)
        self.backend, self.jobs, self.report, self.per_process = backend, jobs, report, per_process
        self.crew = crew
        self.cache = cache or (crew.site.keys if crew else folder / "keys")
        self._limits = limits or Limits()

    @property
    def limits(self) -> Limits:
        """The limits of this run; what it leaves open is what was set at enrolment or commitment."""
        if self._limits.max_drop is not None:
            return self._limits
        kept = self.state.read_json("agent.json").get("maxDrop", DEFAULT_MAX_DROP)
        return Limits(float(kept), self._limits.force)

    def keep_limit(self) -> None:
        """Make this run's limit, if one was given, the one of this folder."""
        if self._limits.max_drop is not None:
            self.state.write_json(
                "agent.json", self.state.read_json("agent.json") | {"maxDrop": self._limits.max_drop}
            )

    def fitting_jobs(self, release: Release) -> int:
        """How many processes of this machine prove at once; a crew's machines have memory of their own."""
        return self.jobs if self.crew else fitting_jobs(self.jobs, release.relation)

    def report_proofs(self, stage: str, jobs: int) -> Callable[[int, int], None]:
        """How proofs report their progress, by `jobs` processes or the crew."""
        return lambda done, total: self.report(stage, done, total, self.crew.working if self.crew else jobs)

    @property
    def keys(self) -> ClientKeys:
        """The client's keys, and what can be done with them."""
        return ClientKeys(self.state)

    @property
    def _key(self) -> Any:
        return keys.load_private(self.state.file(KEY))

    @property
    def _client(self) -> str:
        return str(self.state.read_json("agent.json")["client"])

    def _ledger(self) -> LedgerClient:
        if not self.state.has("agent.json"):
            raise AgentError(f"{self.state.path} holds no enrolled client; run `enrol` first")
        self.keys.finish()
        known = self.state.read_json("agent.json")
        return LedgerClient(known["server"], self._key, Trust(**known["trust"]), self.state.file("seen.note"))

    def orders(self) -> list[dict[str, Any]]:
        """All orders of this client, oldest first."""
        return self._ledger().orders()

    def order(self, uuid: str) -> dict[str, Any]:
        """One order of this client."""
        return self._ledger().order(uuid)

    def news(self, after: int, wait: int) -> News | None:
        """What happened to this client after event number `after`, and to its orders; waits for something."""
        return self._ledger().news(after, wait)

    def _release(self) -> Release:
        folder = self.state.sub("release")
        predicate = CircuitRelease.model_validate_json(folder.read("circuit.json"))
        hiding.expect_hiding(predicate.parameters)
        return Release.open(predicate, {role: folder.file(role) for role in ROLES})

    def _model(self) -> ModelRelease:
        return ModelRelease.model_validate_json(self.state.sub("release").read("model.json"))

    def _layout(self, release: Release) -> Layout:
        return layout_of(release, self._model())

    def _commitment_arrays(self) -> dict[str, NDArray[Any]]:
        return self.state.sub("commitment").read_arrays("factors.npz")

    def _secrets_of(self, layout: Layout) -> Callable[[int], ChunkSecrets]:
        """A function that gives one chunk's secrets; all of a large model's at once would not fit into memory."""
        kept, seed = self._commitment_arrays(), self.state.sub("commitment").read("seed")
        return lambda chunk: ChunkSecrets(
            chunk, layout.blocks_of(kept["weights"], chunk), layout.factors_of(kept["factors"], chunk), seed
        )


@dataclass(frozen=True)
class ChunkFiles:
    """One file per chunk while a step over all chunks is under way, so that a killed run goes on with the rest."""

    folder: Folder

    def has(self, chunk: int) -> bool:
        """Whether the chunk is done."""
        return self.folder.has(self._name(chunk))

    def write(self, chunk: int, data: bytes) -> None:
        """A chunk is done."""
        self.folder.write(self._name(chunk), data)

    def read(self, chunk: int) -> bytes:
        """What a finished chunk came to."""
        return self.folder.read(self._name(chunk))

    def clear(self) -> None:
        """Remove the files, once what they add up to is written."""
        shutil.rmtree(self.folder.path, ignore_errors=True)

    @staticmethod
    def _name(chunk: int) -> str:
        return f"{chunk:06d}"


def layout_of(release: Release, model: ModelRelease) -> Layout:
    """The layout of a model's targets under a circuit release. Raises CircuitError."""
    return Layout(release.predicate.parameters, sum(int(np.prod(target.shape)) for target in model.targets))


def sha256(data: bytes) -> str:
    """SHA-256, hex."""
    return hashlib.sha256(data).hexdigest()


def points_root(data: bytes, points: int) -> str:
    """Merkle root, hex, of a point file whose records have `points` points."""
    size = points * curve.POINT_BYTES
    return root_of([data[i : i + size] for i in range(0, len(data), size)]).hex()
