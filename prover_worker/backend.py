"""What the rest of the package asks of a proving backend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from ledger.statements.predicates.circuit_release import CircuitParameters
from prover_worker.field import Vector

Kind = Literal["relation", "range"]


@dataclass(frozen=True)
class CircuitFiles:
    """Where one circuit's files lie. A verifier has neither `compiled` nor `pk`; a prover makes both."""

    settings: Path
    vk: Path
    srs: Path
    compiled: Path | None = None
    pk: Path | None = None


class Backend(Protocol):
    """Compile circuits, make keys, prove, verify. A proof begins with the commitments of its input columns."""

    name: str

    def code(self) -> tuple[Path, Path]:
        """The module that writes the circuits, and the engine's native library."""

    def make_srs(self, path: Path, logrows: int) -> None:
        """Write a development SRS: whoever runs this could forge proofs under it."""

    def compile(self, kind: Kind, p: CircuitParameters, folder: Path) -> tuple[Path, Path]:
        """Write settings and compiled circuit, and return their paths."""

    def make_keys(self, settings: Path, compiled: Path, srs: Path, folder: Path) -> tuple[Path, Path]:
        """Write (vk, pk). The vk depends on circuit and SRS only."""

    def blinding_rows(self, files: CircuitFiles) -> int:
        """How many rows at the end of an input column the backend fills with ones."""

    def table_end(self, p: CircuitParameters) -> int:
        """Largest digit the range circuit's table really holds; its smallest is -digit_base."""

    def prove(self, files: CircuitFiles, columns: Sequence[Vector]) -> bytes:
        """Raw proof bytes. Raises ProvingFailed when no proof can be made for these columns, MemoryError."""

    def verify(self, kind: Kind, files: CircuitFiles, proof: bytes) -> bool:
        """Whether these bytes are, to the last one, a proof that holds with every public output equal to zero."""

    def points(self, proof: bytes, count: int) -> list[tuple[int, int]]:
        """The first `count` commitments of a proof, as affine coordinates. Raises PointError if it is too short."""
