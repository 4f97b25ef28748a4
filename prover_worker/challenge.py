"""The random field elements of a claim, derived from the log, chosen by nobody.

The first checkpoint that covers the claim fixes them: its root commits to the claim and to everything before it.

    seed = SHA-256("unlearning-ledger/challenge/v1" ‖ 0x00 ‖ u32(len origin) ‖ origin ‖ u64(size) ‖ root
                   ‖ u64(claim index) ‖ claim leaf hash)            integers big-endian
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from ledger.statements.predicates.circuit_release import CircuitParameters
from ledger.tlog.checkpoint import Checkpoint
from prover_worker.errors import ProverError
from prover_worker.field import R, Vector, expand

_DOMAIN = b"unlearning-ledger/challenge/v1\0"


@dataclass(frozen=True)
class Challenge:
    """ρ (r), σ (B), α (blocks), β and γ of docs/protocol.md, the same for all chunks of a claim."""

    rho: Vector
    sigma: Vector
    alpha: Vector
    beta: int
    gamma: int

    def tau(self) -> Vector:
        """τ_bi = α_b σ_i, in the order of a chunk's weights."""
        return [a * s % R for a in self.alpha for s in self.sigma]

    def coefficients(self) -> Vector:
        """The public column of the relation circuit: ρ, α, β, γ."""
        return [*self.rho, *self.alpha, self.beta, self.gamma]


def derive(parameters: CircuitParameters, checkpoint: Checkpoint, claim_index: int, claim_leaf: bytes) -> Challenge:
    """Derive the challenge of a claim. Raises ProverError unless the checkpoint covers the claim."""
    if not 0 <= claim_index < checkpoint.size:
        raise ProverError(
            f"the checkpoint of size {checkpoint.size} does not cover the claim at index {claim_index}"
        )
    origin = checkpoint.origin.encode()
    seed = hashlib.sha256(
        _DOMAIN
        + len(origin).to_bytes(4, "big")
        + origin
        + checkpoint.size.to_bytes(8, "big")
        + checkpoint.root
        + claim_index.to_bytes(8, "big")
        + claim_leaf
    ).digest()
    return Challenge(
        rho=expand(seed, b"rho", parameters.rank),
        sigma=expand(seed, b"sigma", parameters.block_size),
        alpha=expand(seed, b"alpha", parameters.blocks),
        beta=expand(seed, b"beta", 1)[0],
        gamma=expand(seed, b"gamma", 1)[0],
    )
