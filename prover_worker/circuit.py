"""The two circuits, as torch modules that become ONNX graphs (docs/protocol.md gives the algebra).

Relation, one proof per touched chunk: nine committed columns in, one scalar out that must be zero.
Range, one proof per `range_group` chunks: their digit columns in, every digit looked up in one table.
Public forget directions are further rows of Ĝ to them: with q of them the circuits are those of rank r + q.
Slices cost no rows in ezkl's layout, so salt rows and packed columns are cut apart inside the graph.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from prover_worker.layout import column_lengths, digit_base

if TYPE_CHECKING:
    from ledger.statements.predicates.circuit_release import CircuitParameters


class Relation(nn.Module):
    """⟨τ,X⟩ - ⟨τ∘m̄,Y⟩ + Σ α_b (⟨H_b,D_b⟩ - ⟨J_b,v_b⟩ - ⟨ρ,E_b⟩ - ⟨ρ,O_b⟩), docs/protocol.md, section 5.

    v_lo, v_hi and E stand one under the other in Z. J stands in the rows of E; what its column holds above, O
    together, must be zero, or factors committed there would move v after its range is proved.
    """

    def __init__(self, p: CircuitParameters) -> None:
        super().__init__()
        self.p = p
        self.base = float(digit_base(p))

    def forward(
        self, X: Tensor, Y: Tensor, H: Tensor, D: Tensor, tau: Tensor, tau_kept: Tensor, J: Tensor,
        Z: Tensor, coefficients: Tensor,
    ) -> Tensor:  # fmt: skip
        """Return the scalar, of shape (1,)."""
        blocks, size, rank = self.p.blocks, self.p.block_size, self.p.multipliers
        weights, rows = blocks * size, blocks * rank
        X, Y, H, D = (column[:weights].reshape(blocks, size) for column in (X, Y, H, D))
        tau, tau_kept = tau.reshape(blocks, size), tau_kept.reshape(blocks, size)
        O_low, O_high, J = (J[i * rows : (i + 1) * rows].reshape(blocks, rank) for i in range(3))
        low, high, E = (Z[i * rows : (i + 1) * rows].reshape(blocks, rank) for i in range(3))
        rho, alpha = coefficients[:rank], coefficients[rank : rank + blocks]
        high_part = torch.einsum("bn,bn->b", J, high) + torch.einsum("bn,n->b", O_high, rho)
        low_part = torch.einsum("bn,bn->b", J, low) + torch.einsum("bn,n->b", O_low, rho)
        block = torch.einsum("bi,bi->b", H, D) - low_part - high_part * self.base - torch.einsum("bn,n->b", E, rho)
        total = torch.einsum("bi,bi->", tau, X) - torch.einsum("bi,bi->", tau_kept, Y)
        return (total + torch.einsum("b,b->", block, alpha)).reshape(1)


class Range(nn.Module):
    """Every digit of `range_group` chunks goes through a table; tanh at scale 1 is one, its values unused."""

    def __init__(self, p: CircuitParameters) -> None:
        super().__init__()
        self.rows = 3 * p.blocks * p.multipliers
        self.noise, self.noisy = self.rows + p.salt_rows, p.noise_rows > 0

    def forward(self, *columns: Tensor) -> Tensor:
        """Columns of shape (3·blocks·(r + q) + salt_rows + noise_rows,); salt is cut out before the lookup."""
        parts = [column[: self.rows] for column in columns]
        if self.noisy:
            parts = [part for column in columns for part in (column[: self.rows], column[self.noise :])]
        return torch.tanh(torch.cat(parts))


def export_relation(p: CircuitParameters, path: Path) -> None:
    """Write the relation circuit as ONNX."""
    lengths = column_lengths(p)
    _export(Relation(p), list(lengths.values()), list(lengths), ["zero"], path)


def export_range(p: CircuitParameters, path: Path) -> None:
    """Write the range circuit as ONNX."""
    length = column_lengths(p)["Z"]
    names = [f"digits_{i}" for i in range(p.range_group)]
    _export(Range(p), [length] * p.range_group, names, ["looked_up"], path)


def _export(module: nn.Module, lengths: list[int], names: list[str], outputs: list[str], path: Path) -> None:
    examples = tuple(torch.zeros(length) for length in lengths)
    with warnings.catch_warnings():
        # The TorchScript exporter gives the graph that was measured; its deprecation is known.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            module,
            examples,
            str(path),
            input_names=names,
            output_names=outputs,
            opset_version=17,
            dynamo=False,
        )
