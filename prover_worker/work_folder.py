"""The folder that a client's machines share while several of them prove: what is to be done, by whom, and what came
of it. It is the truth; a message of the broker only wakes a worker, and may be lost or come twice.

    circuits/VK/       circuit releases: the logged predicate and its files
    keys/              circuits and proving keys, made once for all machines
    queue/             messages, where no other broker is named
    runs/RUN/          one claim's proofs, or one continuation's
      run.json         circuit and terms; who wants to know the file system's time touches it
      inputs/ITEM      columns of a proof to make. Secret
      leases/ITEM.N    attempt N: made by the one worker that has it, touched while it works
      leases/ITEM.N.over   why attempt N was given up
      made/ITEM        the proof

Whoever creates ITEM.N+1 first has the item; he may try once ITEM.N was given up, or was not touched for as long as
a lease lasts. No lease is ever taken over, so two workers cannot both take what a third one lost. A worker that was
given up for dead and comes back makes a proof as good as the other one.

Times are those of the folder's file system: machines' clocks need not agree. A lease must outlast what NFS
remembers of a file's times, a minute. A folder that others can enter is refused: what is in it is secret.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ledger.statements.predicates import CircuitRelease
from ledger.statements.predicates.circuit_release import ROLES
from prover_worker.agent_state import Folder
from prover_worker.errors import AgentError
from prover_worker.release import Release
from prover_worker.work_run import About, Terms, WorkRun, remove

_RUN: Final = re.compile(r"[0-9a-f]{32}")
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True)
class Site:
    """The shared folder."""

    path: Path

    @classmethod
    def open(cls, path: Path, *, make: bool = False) -> Site:
        """Raises AgentError unless it is a folder that belongs to this account, and that nobody else can enter."""
        if make:
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            found = path.stat()
        except FileNotFoundError as error:
            raise AgentError(f"there is no folder {path}; give the one that the agent's --workers names") from error
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & _OTHERS:
            raise AgentError(
                f"{path} has owner {found.st_uid} and mode {stat.S_IMODE(found.st_mode):04o}; columns of secret "
                f"weights go there, so it must be a folder of account {os.geteuid()} with mode 0700"
            )
        return cls(path.absolute())

    @property
    def keys(self) -> Path:
        """Where proving keys are, unless a machine keeps its own."""
        return self.path / "keys"

    @property
    def queue(self) -> Path:
        """Where messages are, if there is no other broker."""
        return self.path / "queue"

    def run(self, name: str) -> WorkRun:
        """A run by the name that a message gives it. Raises AgentError for what is no name."""
        if not _RUN.fullmatch(name):
            raise AgentError(f"{name!r:.80} is no name of a run")
        return WorkRun(self.path / "runs" / name)

    def begin(self, name: str, release: Release, terms: Terms) -> WorkRun:
        """Make a run, or go on with one."""
        circuit = self._kept(release)
        run = self.run(name)
        run.begin(About(circuit=circuit, terms=terms))
        return run

    def _kept(self, release: Release) -> str:
        """Keep the circuits' files by role; the predicate last, as its presence means that all are there."""
        circuit = release.predicate.relation.vk_sha256
        folder = Folder(self.path).sub("circuits", circuit)
        if not folder.has("predicate.json"):
            for role, path in release.paths().items():
                folder.write(role, path.read_bytes())
            folder.write("predicate.json", release.predicate.model_dump_json(by_alias=True).encode())
        return circuit

    def release(self, circuit: str) -> Release:
        """A kept circuit release, its files checked against the predicate. Raises CircuitError."""
        folder = Folder(self.path).sub("circuits", circuit)
        predicate = CircuitRelease.model_validate_json(folder.read("predicate.json"))
        return Release.open(predicate, {role: folder.file(role) for role in ROLES})

    def end(self, name: str) -> None:
        """Remove a run that is done."""
        remove(self.run(name).path)

    def cancel(self) -> int:
        """Take all work back, that of an agent that died as well; returns how many proofs were still to be made."""
        runs = sorted((self.path / "runs").glob("[!.]*"))
        waiting = sum(len(list(run.glob("inputs/[!.]*"))) for run in runs)
        for run in sorted((self.path / "runs").glob("*")):
            remove(run)
        return waiting
