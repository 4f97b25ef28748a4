"""What a client keeps: one folder, readable by its owner only.

    agent.json          server, client handle, pinned keys
    key.pem             Ed25519 private key
    seen.note           last checkpoint accepted
    release/            circuit release: predicate and files by role
    commitment/         the committed model, grid weights, factors, salt seed, point files, log reference
    orders/<order>/<attempt>/   mask, solution, salt seed, point files, claim, proofs, figures, unlearned model
    keys/               proving keys, made here; may be shared between clients of one machine (--cache)

Files are written whole or not at all. Salt seeds open the commitments: losing them makes proving impossible,
leaking them ends their hiding.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prover_worker.errors import AgentError


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

    def write(self, name: str, data: bytes) -> Path:
        """Write whole or not at all, for the owner only."""
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = self.path / f".{name}.{os.getpid()}"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.file(name))
        return self.file(name)

    def read(self, name: str) -> bytes:
        """A file's bytes. Raises AgentError when it is not there."""
        try:
            return self.file(name).read_bytes()
        except FileNotFoundError as error:
            raise AgentError(f"{self.file(name)} is missing from the agent's state folder") from error

    def write_json(self, name: str, value: Mapping[str, Any]) -> None:
        """Write a JSON object."""
        self.write(name, json.dumps(value, indent=1, sort_keys=True).encode() + b"\n")

    def read_json(self, name: str) -> dict[str, Any]:
        """Read a JSON object."""
        return json.loads(self.read(name))

    def write_arrays(self, name: str, **arrays: NDArray[Any]) -> None:
        """Write integer arrays as .npz."""
        import io

        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **arrays)
        self.write(name, buffer.getvalue())

    def read_arrays(self, name: str) -> dict[str, NDArray[Any]]:
        """Read integer arrays; pickled content is refused."""
        self.read(name)
        with np.load(self.file(name), allow_pickle=False) as arrays:
            return dict(arrays)
