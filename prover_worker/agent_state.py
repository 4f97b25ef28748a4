"""What a client keeps: one folder, readable by its owner only.

    folder.json         the schema of the folder, and who works in it (the lock is held on folder.lock)
    agent.json          server, client handle, pinned keys, the client's own limits
    key.pem             Ed25519 private key; key.XXXX.pem are those before it
    key.new.pem, key-change.json   a change of keys under way
    seen.note           last checkpoint accepted
    release/            circuit release: predicate and files by role
    commitment/         the committed model, grid weights, factors, salt seed, point files, log reference,
                        a sample of the client's data to measure the model on
    orders/<order>/<attempt>/   mask, solution, salt seed, point files, claim, proofs, figures, unlearned model
    keys/               proving keys, made here; may be shared between clients of one machine (--cache)
    logs/               what the agent did, for people; no secrets

Files are written whole or not at all. Salt seeds open the commitments: losing them makes proving impossible,
leaking them ends their hiding.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from prover_worker.disks import room_for
from prover_worker.errors import AgentError

PARTIAL: Final = ".part"  # how temporary files end; whoever takes the folder removes those left behind


@dataclass(frozen=True)
class Folder:
    """A folder of the agent's state."""

    path: Path

    def sub(self, *names: str) -> Folder:
        """A folder inside, made on first write."""
        return Folder(self.path.joinpath(*names))

    def file(self, name: str) -> Path:
        """A file's path, whether it exists or not."""
        return self.path / name

    def has(self, name: str) -> bool:
        """Whether a file was written."""
        return self.file(name).exists()

    @contextmanager
    def appearing(self, name: str) -> Iterator[Path]:
        """A path to write to; what is there at the end appears as `name`, synced and for the owner only.

        Whatever goes wrong leaves the old file, or none. Raises AgentError when the disk is full.
        """
        temporary = self.path / f".{name}.{os.getpid()}{PARTIAL}"
        try:
            with room_for(name, self.path):
                self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
                os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
                yield temporary
                with temporary.open("rb") as file:
                    os.fsync(file.fileno())
                temporary.replace(self.file(name))
                _sync_folder(self.path)
        finally:
            temporary.unlink(missing_ok=True)

    def write(self, name: str, data: bytes) -> Path:
        """Write whole or not at all, for the owner only."""
        with self.appearing(name) as temporary:
            temporary.write_bytes(data)
        return self.file(name)

    def read(self, name: str) -> bytes:
        """A file's bytes. Raises AgentError when it is not there."""
        try:
            return self.file(name).read_bytes()
        except FileNotFoundError as error:
            raise AgentError(
                f"{self.file(name)} is missing from the agent's state folder; put it back from a copy of "
                "that folder, or run the step that makes it"
            ) from error

    def write_json(self, name: str, value: Mapping[str, Any]) -> None:
        """Write a JSON object."""
        self.write(name, json.dumps(value, indent=1, sort_keys=True).encode() + b"\n")

    def read_json(self, name: str) -> dict[str, Any]:
        """Read a JSON object."""
        return json.loads(self.read(name))

    def write_arrays(self, name: str, **arrays: NDArray[Any]) -> None:
        """Write integer arrays as .npz."""
        with self.appearing(name) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)

    def read_arrays(self, name: str) -> dict[str, NDArray[Any]]:
        """Read integer arrays; pickled content is refused."""
        self.read(name)
        with np.load(self.file(name), allow_pickle=False) as arrays:
            return dict(arrays)


def _sync_folder(path: Path) -> None:
    """Make a rename inside it survive a power failure."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
