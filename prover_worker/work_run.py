"""One run in the folder that a client's machines share: inputs, leases, proofs (work_folder.py has the layout).

Everything appears whole under its name, and nothing is written into a run that was taken back: its folder is gone
then, and what would have been written is of no use any more.
"""

from __future__ import annotations

import os
import re
import shutil
import uuid
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, ValidationError

from prover_worker.backend import Kind
from prover_worker.disks import room_for
from prover_worker.errors import AgentError
from prover_worker.work_columns import Made

_ITEM: Final = re.compile(r"(relation|range|continuation)-\d{6,}")
_OVER: Final = ".over"
TAKEN_BACK: Final = "this work was taken back (`--cancel`); finished proofs are kept, run the agent again to go on"


class Terms(BaseModel):
    """What workers of a run keep to. `lease` and `limit`, the longest that one proof may take, are seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    lease: PositiveFloat = 120.0
    limit: PositiveFloat = 3600.0
    attempts: PositiveInt = 3


class About(BaseModel):
    """run.json: the circuit release by its relation circuit's verifying key, and the terms."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    circuit: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    terms: Terms


def item_name(kind: str, key: int) -> str:
    """The name of a proof to make, and of its file: what kind of proof, and of which chunk or group."""
    return f"{kind}-{key:06d}"


def circuit_of(kind: str) -> Kind:
    """The circuit that proofs of a kind are made with."""
    return "range" if kind == "range" else "relation"


@dataclass(frozen=True)
class Lease:
    """An attempt at an item, held by one worker."""

    path: Path

    def extend(self) -> bool:
        """Show a sign of life. False: there is nothing to hold any more."""
        try:
            os.utime(self.path)  # without times of our own: the file system takes its own
        except FileNotFoundError:
            return False
        return True

    def give_up(self, reason: str) -> None:
        """End the attempt, so that another one can begin at once. The first reason stays."""
        over = self.path.with_name(self.path.name + _OVER)
        if self.path.exists() and not over.exists():
            write_whole(over, reason[:500].encode())


@dataclass(frozen=True)
class WorkRun:
    """One run."""

    path: Path

    @cached_property
    def about(self) -> About:
        """What run.json says. Raises AgentError when the run was taken back."""
        try:
            return About.model_validate_json((self.path / "run.json").read_bytes())
        except FileNotFoundError as error:
            raise AgentError(TAKEN_BACK) from error
        except ValidationError as error:
            raise AgentError(f"{self.path / 'run.json'} is damaged; `--cancel` removes it") from error

    def begin(self, about: About) -> None:
        """Make the run, or go on with it. Items that nobody is at any more get all their attempts again."""
        for part in ("inputs", "leases", "made"):
            with room_for(part, self.path):
                self.path.joinpath(part).mkdir(parents=True, exist_ok=True, mode=0o700)
        write_whole(self.path / "run.json", about.model_dump_json().encode())
        for item in self._tried() - self.held():
            self._forget_leases(item)

    def is_open(self) -> bool:
        """Whether nobody has taken the run back."""
        return (self.path / "run.json").exists()

    def is_full(self) -> bool:
        """Whether the folder's disk is, so that workers can neither take an item nor hand one in."""
        return not os.statvfs(self.path.parent).f_bavail

    def now(self) -> float:
        """The file system's time. Raises AgentError when the run was taken back."""
        clock = self.path / "run.json"
        try:
            os.utime(clock)
            return clock.stat().st_mtime
        except FileNotFoundError as error:
            raise AgentError(TAKEN_BACK) from error

    # The agent's side

    def put(self, item: str, columns: bytes) -> None:
        """Let an item be done, unless it waits already. Raises AgentError when the disk is full."""
        if not self.waits(item):
            write_whole(self.path / "inputs" / item, columns)

    def attempt(self, item: str) -> int:
        """How often it was tried: 0 for not yet."""
        found = [path.suffix[1:] for path in self.path.glob(f"leases/{item}.*") if path.suffix != _OVER]
        return max(map(int, found), default=0)

    def held(self) -> set[str]:
        """Items that workers are at."""
        now, over = self.now(), self.finished()
        return {item for item in self._tried() - over if self._alive(item, self.attempt(item), now)}

    def finished(self) -> set[str]:
        """Items whose proofs are there."""
        return {path.name for path in self.path.glob("made/[!.]*")}

    def ended(self, item: str) -> tuple[int, str] | None:
        """How often it was tried, 0 for not yet, and how the last attempt ended; None while a worker is at it."""
        while attempt := self.attempt(item):
            now, lease = self.now(), self.path / "leases" / f"{item}.{attempt}"
            held = _holder(lease)
            if held is None:  # its worker had no room to write that it begins: it was no attempt
                continue
            worker, touched = held
            with suppress(FileNotFoundError):
                return attempt, lease.with_name(lease.name + _OVER).read_text()
            if touched + self.about.terms.lease > now:
                return None
            # It died with its machine, or found no room to write why.
            return attempt, f"{worker} has gone silent{'; the shared disk is full' * self.is_full()}"
        return 0, ""

    def read(self, item: str) -> Made:
        """The proof. Raises AgentError for a file that is none."""
        return Made.read((self.path / "made" / item).read_bytes())

    def reject(self, item: str, reason: str) -> None:
        """Take no notice of a proof that was handed in; the item may be tried again."""
        Lease(self.path / "leases" / f"{item}.{self.attempt(item)}").give_up(reason)
        (self.path / "made" / item).unlink(missing_ok=True)

    def forget(self, item: str) -> None:
        """The item is done, and its proof kept elsewhere: the secret first."""
        (self.path / "inputs" / item).unlink(missing_ok=True)
        self._forget_leases(item)
        (self.path / "made" / item).unlink(missing_ok=True)

    def take_back(self) -> None:
        """Stop all work: what is secret goes, finished proofs stay for the next run."""
        remove(self.path / "inputs")

    # The workers' side

    def waits(self, item: str) -> bool:
        """Whether its columns are there."""
        return (self.path / "inputs" / item).exists()

    def made(self, item: str) -> bool:
        """Whether its proof is there."""
        return (self.path / "made" / item).exists()

    def take(self, item: str, worker: str) -> Lease | None:
        """Begin an attempt. None: it is done, nobody's business any more, held, or was tried often enough.

        Raises AgentError for what is no name of an item: it comes from a message; and when the disk is full.
        """
        if not _ITEM.fullmatch(item):
            raise AgentError(f"{item!r:.80} is no name of a proof to make")
        if self.made(item) or not self.waits(item):
            return None
        last = self.attempt(item)
        if last >= self.about.terms.attempts or (last and self._alive(item, last, self.now())):
            return None
        lease = self.path / "leases" / f"{item}.{last + 1}"
        with room_for(lease.name, lease.parent):
            try:
                descriptor = _made_new(lease)
            except (FileExistsError, FileNotFoundError):  # another one was faster, or the run is gone
                return None
            try:
                with os.fdopen(descriptor, "w") as file:
                    file.write(worker)
            except OSError:
                lease.unlink(missing_ok=True)  # nobody works under it: no attempt was made
                raise
        return Lease(lease)

    def columns(self, item: str) -> bytes:
        """What to prove."""
        return (self.path / "inputs" / item).read_bytes()

    def hand_in(self, item: str, made: Made) -> None:
        """The item is proved."""
        write_whole(self.path / "made" / item, made.model_dump_json().encode())

    def _tried(self) -> set[str]:
        return {path.name.split(".")[0] for path in self.path.glob("leases/[!.]*")}

    def _alive(self, item: str, attempt: int, now: float) -> bool:
        lease = self.path / "leases" / f"{item}.{attempt}"
        held = _holder(lease)
        if held is None or held[1] + self.about.terms.lease <= now:
            return False
        return not lease.with_name(lease.name + _OVER).exists()

    def _forget_leases(self, item: str) -> None:
        for lease in sorted(self.path.glob(f"leases/{item}.*"), reverse=True):
            lease.unlink(missing_ok=True)


def _holder(lease: Path) -> tuple[str, float] | None:
    """Who holds a lease, and its last sign of life, in one step: it may come and go. None: it is not there."""
    try:
        with lease.open() as file:  # opening makes NFS ask for the file's times
            return file.read(), os.fstat(file.fileno()).st_mtime
    except FileNotFoundError:
        return None


def write_whole(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, for the owner only. Where its folder is gone, nothing is written.

    Raises AgentError when the disk is full.
    """
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with room_for(path.name, path.parent), os.fdopen(_made_new(draft), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except FileNotFoundError:
        return
    finally:
        draft.unlink(missing_ok=True)


def _made_new(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)


def remove(folder: Path) -> None:
    """Remove a folder that others may be writing to: first it goes from where they look for it."""
    gone = folder.with_name(f".gone-{uuid.uuid4().hex}")
    try:
        folder.rename(gone)
    except FileNotFoundError:
        return
    shutil.rmtree(gone, ignore_errors=True)
