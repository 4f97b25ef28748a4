"""Where every weight stands: flat vector → blocks of B → chunks of some hundred blocks → rows of a column.

The target tensors, flattened row-major and joined in the order of the model release, make one flat vector.
A block is B consecutive weights, a chunk `blocks` consecutive blocks; the last chunk is filled up with zero
blocks. In a column, weight i of block b stands in row b·B + i. A chunk's digits v_lo, v_hi and e stand one after
the other, each with row n of block b in row b·(r + q) + n: the client's own r rows come first, then q public forget
directions. Columns B_i of the factors stand where e does, with zeros above and where directions are, so that they
can be added to the digits. Private columns end in `salt_rows` random elements; behind those of the digits stand
`noise_rows` random digits, which are looked up as the others are and used for nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ledger.statements.predicates.circuit_release import CircuitParameters
from prover_worker.errors import CircuitError

Integers = NDArray[np.int64]


#: Order of the relation circuit's inputs, and so of the first points of its proof.
RELATION_COLUMNS: Final = ("X", "Y", "H", "D", "tau", "tau_kept", "J", "Z", "coefficients")


def column_lengths(p: CircuitParameters) -> dict[str, int]:
    """Rows of each input of the relation circuit; private columns end in salt rows."""
    weights, rows, salt = p.blocks * p.block_size, p.blocks * p.multipliers, p.salt_rows
    private = {"X": weights, "Y": weights, "H": weights, "D": weights, "J": 3 * rows, "Z": 3 * rows}
    public = {"tau": weights, "tau_kept": weights, "coefficients": p.multipliers + p.blocks}
    lengths = {name: rows + salt for name, rows in private.items()} | public
    lengths["Z"] += p.noise_rows
    return {name: lengths[name] for name in RELATION_COLUMNS}


def digit_base(p: CircuitParameters) -> int:
    """T: the lookup table starts at -T, and v = v_lo + T·v_hi. Half of what the table's columns can hold."""
    return table_columns(p) << (p.logrows - 1)


def table_columns(p: CircuitParameters) -> int:
    """Columns of the range circuit's table: what a digit is looked up in costs one argument for each."""
    return p.table_columns or p.columns


def looked_up(p: CircuitParameters) -> int:
    """Digits that one range proof looks up, random ones included."""
    return p.range_group * (3 * p.blocks * p.multipliers + p.noise_rows)


@dataclass(frozen=True)
class Layout:
    """Shapes of everything, from the circuit's parameters and the number of target weights.

    Raises CircuitError when the weights do not divide into blocks.
    """

    parameters: CircuitParameters
    total: int

    def __post_init__(self) -> None:
        if self.total <= 0 or self.total % self.parameters.block_size:
            raise CircuitError(
                f"got {self.total} target weights; the circuit needs a positive multiple of its block size "
                f"{self.parameters.block_size}"
            )

    @property
    def chunk_weights(self) -> int:
        """Weights per chunk: blocks × B."""
        return self.parameters.blocks * self.parameters.block_size

    @property
    def chunks(self) -> int:
        """Number of chunks, the last one possibly padded."""
        return -(-self.total // self.chunk_weights)

    @property
    def factor_rows(self) -> int:
        """Rows of v, of e and of K in a chunk: blocks × (r + q)."""
        return self.parameters.blocks * self.parameters.multipliers

    @property
    def factor_start(self) -> int:
        """First row of e in the digits, and of the factors in the columns B_i."""
        return 2 * self.factor_rows

    @property
    def points_per_curvature(self) -> int:
        """Points that commit to a chunk's factors: A_0 … A_{r-1}, then B_0 … B_{B-1}."""
        return self.parameters.rank + self.parameters.block_size

    @property
    def commit_rows(self) -> int:
        """Rows that any committed column can reach."""
        return max(column_lengths(self.parameters).values())

    def blocks_of(self, flat: Integers, chunk: int) -> Integers:
        """The (blocks, B) integers of one chunk, zero blocks where the flat vector has ended."""
        start = chunk * self.chunk_weights
        part = flat[start : start + self.chunk_weights]
        padded = np.zeros(self.chunk_weights, dtype=np.int64)
        padded[: len(part)] = part
        return padded.reshape(self.parameters.blocks, self.parameters.block_size)

    def factors_of(self, factors: NDArray[np.integer], chunk: int) -> Integers:
        """The (blocks, r, B) factors of one chunk, from factors of shape (total/B, r, B)."""
        p = self.parameters
        part = factors[chunk * p.blocks : (chunk + 1) * p.blocks]
        padded = np.zeros((p.blocks, p.rank, p.block_size), dtype=np.int64)
        padded[: len(part)] = part
        return padded

    def masked_rows(self, indices: Sequence[int] | NDArray[np.integer]) -> dict[int, list[int]]:
        """Rows of the masked weights by chunk, touched chunks only, ascending."""
        flat = np.asarray(indices, dtype=np.int64)
        chunks = flat // self.chunk_weights
        edges = np.flatnonzero(np.diff(chunks)) + 1
        parts = np.split(flat, edges) if len(flat) else []
        return {int(p[0] // self.chunk_weights): (p % self.chunk_weights).tolist() for p in parts}

    def groups(self, touched: Sequence[int]) -> list[list[int]]:
        """Touched chunks in runs of `range_group`: one range proof each."""
        size = self.parameters.range_group
        return [list(touched[i : i + size]) for i in range(0, len(touched), size)]
