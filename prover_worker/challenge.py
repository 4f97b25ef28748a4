"""The random field elements of a claim, and the chunks to prove, derived from the log, chosen by nobody.

The first checkpoint that covers the claim fixes them: its root commits to the claim and to everything before it.

    seed = SHA-256("unlearning-ledger/challenge/v1" ‖ 0x00 ‖ u32(len origin) ‖ origin ‖ u64(size) ‖ root
                   ‖ u64(claim index) ‖ claim leaf hash)            integers big-endian

Where coverage is a sample, q of the n touched chunks are drawn without replacement from

    draw seed = SHA-256("unlearning-ledger/draw/v1" ‖ 0x00 ‖ seed ‖ secret)
    word j    = SHA-256(draw seed ‖ u64(j)) as a number, j = 0, 1, …

Touched chunks stand in a list, ascending. For i = 0 … q-1 the next word below the largest multiple of n-i up to
2^256, modulo n-i, says how far behind place i the chunk stands that changes places with the one at i (words above
are skipped: no chunk is favoured). The first q are the sample. The secret is the provider's: its SHA-256 was logged
with the order, it is disclosed with the challenge. Without it a client could foresee the checkpoint that covers its
claim, and choose among claims until the draw spares its dishonest chunks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

from ledger.statements.coverage import FULL, proofs_due
from ledger.statements.predicates.circuit_release import CircuitParameters
from ledger.tlog.checkpoint import Checkpoint
from prover_worker.errors import ProverError
from prover_worker.field import R, Vector, expand

_DOMAIN = b"unlearning-ledger/challenge/v1\0"
_CONTINUATION = b"unlearning-ledger/continuation/v1\0"
_DRAW_DOMAIN = b"unlearning-ledger/draw/v1\0"
_WORDS = 1 << 256  # a word is below this


@dataclass(frozen=True)
class Draw:
    """How many chunks an attempt must prove, and the provider's 32 bytes where they are drawn."""

    coverage: str = FULL
    secret: bytes = b""


EVERYTHING = Draw()


@dataclass(frozen=True)
class Challenge:
    """ρ (r + q), σ (B), α (blocks), β and γ of docs/protocol.md, the same for all chunks; and what to prove."""

    rho: Vector
    sigma: Vector
    alpha: Vector
    beta: int
    gamma: int
    draw: Draw = EVERYTHING
    draw_seed: bytes = b""

    def drawn(self, touched: Sequence[int]) -> list[int]:
        """The chunks to prove, ascending, of the touched ones (ascending)."""
        return _drawn(touched, self.draw.coverage, self.draw_seed)

    def tau(self) -> Vector:
        """τ_bi = α_b σ_i, in the order of a chunk's weights."""
        return [a * s % R for a in self.alpha for s in self.sigma]

    def coefficients(self) -> Vector:
        """The public column of the relation circuit: ρ, α."""
        return [*self.rho, *self.alpha]

    def damped(self, damping: int) -> Vector:
        """The public part of J, to be added where the factors stand: d·ρ_n for every block."""
        return [damping * r % R for r in self.rho] * len(self.alpha)


def sample(chunks: Sequence[int], size: int, words: Iterator[int]) -> list[int]:
    """`size` of `chunks`, every choice equally likely if the words (below 2^256) are uniform; ascending."""
    pool = list(chunks)
    for i in range(size):
        left = len(pool) - i
        fair = _WORDS - _WORDS % left
        j = i + next(word for word in words if word < fair) % left
        pool[i], pool[j] = pool[j], pool[i]
    return sorted(pool[:size])


def derive(
    parameters: CircuitParameters,
    checkpoint: Checkpoint,
    claim_index: int,
    claim_leaf: bytes,
    draw: Draw = EVERYTHING,
) -> Challenge:
    """Derive the challenge of a claim. Raises ProverError unless the checkpoint covers the claim, or for a sample
    without the provider's secret.
    """
    if draw.coverage != FULL and len(draw.secret) != 32:
        raise ProverError(f"a sample is drawn with a secret of 32 bytes, got {len(draw.secret)}")
    return _elements(parameters, _seed(_DOMAIN, "claim", checkpoint, claim_index, claim_leaf), draw)


def drawn_chunks(
    touched: Sequence[int], checkpoint: Checkpoint, claim_index: int, claim_leaf: bytes, draw: Draw
) -> list[int]:
    """The chunks that a claim must prove, of the touched ones: `derive(…).drawn(touched)` without the elements."""
    if draw.coverage == FULL:
        return list(touched)
    seed = _seed(_DOMAIN, "claim", checkpoint, claim_index, claim_leaf)
    return _drawn(touched, draw.coverage, _draw_seed(seed, draw))


def derive_continuation(
    parameters: CircuitParameters, checkpoint: Checkpoint, index: int, leaf: bytes
) -> Challenge:
    """Derive the challenge of a commitment that continues a model, under a label of its own: no claim's challenge
    is one of these. Raises ProverError unless the checkpoint covers the commitment.
    """
    return _elements(parameters, _seed(_CONTINUATION, "commitment", checkpoint, index, leaf), EVERYTHING)


def _seed(label: bytes, what: str, checkpoint: Checkpoint, index: int, leaf: bytes) -> bytes:
    if not 0 <= index < checkpoint.size:
        raise ProverError(f"the checkpoint of size {checkpoint.size} does not cover the {what} at index {index}")
    origin = checkpoint.origin.encode()
    return hashlib.sha256(
        label
        + len(origin).to_bytes(4, "big")
        + origin
        + checkpoint.size.to_bytes(8, "big")
        + checkpoint.root
        + index.to_bytes(8, "big")
        + leaf
    ).digest()


def _elements(parameters: CircuitParameters, seed: bytes, draw: Draw) -> Challenge:
    return Challenge(
        rho=expand(seed, b"rho", parameters.multipliers),
        sigma=expand(seed, b"sigma", parameters.block_size),
        alpha=expand(seed, b"alpha", parameters.blocks),
        beta=expand(seed, b"beta", 1)[0],
        gamma=expand(seed, b"gamma", 1)[0],
        draw=draw,
        draw_seed=_draw_seed(seed, draw),
    )


def _draw_seed(seed: bytes, draw: Draw) -> bytes:
    return hashlib.sha256(_DRAW_DOMAIN + seed + draw.secret).digest()


def _drawn(touched: Sequence[int], coverage: str, draw_seed: bytes) -> list[int]:
    if coverage == FULL:
        return list(touched)
    words = (int.from_bytes(hashlib.sha256(draw_seed + j.to_bytes(8, "big")).digest(), "big") for j in count())
    return sample(touched, proofs_due(coverage, len(touched)), words)
