"""One client's story in a few lines: commit, solve, claim, prove, verify. Every step can be done wrong.

The circuit is small but real: 2^11 rows, chunks of 16 blocks of 16 weights, rank 4. The model has three chunks,
the last one padded; the middle one is never masked. A claim's leaf is a hash over its point files, as in the log,
so other points mean another challenge.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import torch

from ledger.statements.predicates.circuit_release import CircuitParameters
from ledger.tlog.checkpoint import Checkpoint
from prover_worker import challenge, commitments, curve, prove
from prover_worker.bundle import ProofBundle, format_bundle
from prover_worker.commitments import ChunkSecrets, ChunkSolution
from prover_worker.ezkl_backend import EzklBackend
from prover_worker.field import R
from prover_worker.layout import Layout
from prover_worker.release import Release
from prover_worker.verify import Case, verify_claim
from unlearning import lattice, maskfile

P: Final = CircuitParameters(
    logrows=11, columns=2, blocks=16, block_size=16, rank=4, damping=64, factor_limit=15, grid_bits=20,
    salt_rows=8, range_group=4, noise_rows=480, form=2,
)  # fmt: skip
TOTAL: Final = 3 * 256 - 32
BACKEND: Final = EzklBackend()
OTHERS: Final = "aa" * 32  # digest of the tensors that are no targets


@dataclass(frozen=True)
class Client:
    """A client with a committed model."""

    release: Release
    secrets: Mapping[int, ChunkSecrets]

    @property
    def layout(self) -> Layout:
        return Layout(self.release.predicate.parameters, TOTAL)

    @property
    def basis(self) -> curve.Basis:
        return curve.basis(self.release.relation.srs, self.layout.commit_rows)

    @cached_property
    def weights(self) -> list[bytes]:
        return [commitments.commit_weights(self.basis, self.layout, s) for s in self.secrets.values()]

    @cached_property
    def curvature(self) -> list[bytes]:
        return [commitments.commit_curvature(self.basis, self.layout, s) for s in self.secrets.values()]


def make_client(release: Release, seed: int) -> Client:
    layout, rng = Layout(P, TOTAL), np.random.default_rng(seed)
    weights = np.rint(rng.normal(0, 0.05 * 2**20, TOTAL)).astype(np.int64)
    factors = rng.integers(-15, 16, (TOTAL // 16, 4, 16))
    salt = hashlib.sha256(b"salt" + bytes([seed])).digest()
    return Client(
        release,
        {c: ChunkSecrets(c, layout.blocks_of(weights, c), layout.factors_of(factors, c), salt) for c in range(3)},
    )


def make_mask(seed: int = 0) -> np.ndarray:
    """Some forty masked weights in the first and the last chunk, none in the middle one."""
    rng, mask = np.random.default_rng(seed), np.zeros(TOTAL, dtype=bool)
    mask[rng.choice(TOTAL, 60, replace=False)] = True
    mask[256:512] = False
    return mask


def chunk_mask(client: Client, mask: np.ndarray, chunk: int) -> np.ndarray:
    return client.layout.blocks_of(mask, chunk).astype(bool)


def solve(client: Client, mask: np.ndarray) -> dict[int, ChunkSolution]:
    """The prescribed operator on every touched chunk."""
    out = {}
    for chunk in client.layout.masked_rows(np.flatnonzero(mask)):
        secret, masked = client.secrets[chunk], torch.from_numpy(chunk_mask(client, mask, chunk))
        solved = lattice.solve(
            torch.from_numpy(secret.weights), torch.from_numpy(secret.factors), masked, P.damping
        )
        new, v, f, e = (part.numpy() for part in solved)
        out[chunk] = ChunkSolution(chunk, new, f, v, e, hashlib.sha256(b"fresh salt").digest())
    return out


def residual(secret: ChunkSecrets, new: np.ndarray, v: np.ndarray) -> np.ndarray:
    """The e that makes Ĝ(w' - w) = d·v + e true."""
    return np.einsum("bri,bi->br", secret.factors, new - secret.weights) - P.damping * v


@dataclass(frozen=True)
class Claim:
    """A logged claim: the points stand, the challenge follows from them."""

    client: Client
    mask: np.ndarray
    solutions: Mapping[int, ChunkSolution]
    weights: list[bytes]
    records: Mapping[int, bytes]

    @property
    def rows(self) -> dict[int, list[int]]:
        return self.client.layout.masked_rows(np.flatnonzero(self.mask))

    @property
    def leaf(self) -> bytes:
        return hashlib.sha256(b"".join([*self.weights, *self.records.values()])).digest()

    @property
    def checkpoint(self) -> Checkpoint:
        return Checkpoint("tests/ledger", 5, hashlib.sha256(b"root" + self.leaf).digest())

    @property
    def challenge(self) -> challenge.Challenge:
        return challenge.derive(self.client.release.predicate.parameters, self.checkpoint, 3, self.leaf)

    def prove_chunk(self, chunk: int, **changed: Any) -> bytes:
        """A relation proof; `changed`: release, secrets, solution, rows, directions or challenge."""
        witness = prove.ChunkWitness(
            changed.get("secrets", self.client.secrets[chunk]),
            changed.get("solution", self.solutions[chunk]),
            changed.get("rows", self.rows[chunk]),
            changed.get("directions"),
        )
        release = changed.get("release", self.client.release)
        drawn = changed.get("challenge", self.challenge)
        return prove.prove_relation(BACKEND, release, self.client.layout, witness, drawn)[0]

    def prove_group(self, solutions: Mapping[int, ChunkSolution] | None = None) -> bytes:
        """The range proof of the one group, of these solutions' digits."""
        chosen = list((solutions or self.solutions).values())
        return prove.prove_range(BACKEND, self.client.release, self.client.layout, chosen)[0]

    def prove(self, ranges: Mapping[int, ChunkSolution] | None = None, **changed: Any) -> ProofBundle:
        """All proofs; `ranges`: the solutions whose digits the range proof is about."""
        relations = {c: self.prove_chunk(c, **changed) for c in self.solutions}
        return ProofBundle(relations, {0: self.prove_group(ranges)})

    def case(self, bundle: ProofBundle, **changed: Any) -> Case:
        """What the verifier is given."""
        given = {
            "release": self.client.release,
            "total": TOTAL,
            "weights": b"".join(self.client.weights),
            "curvature": b"".join(self.client.curvature),
            "other_tensors": OTHERS,
            "mask": mask_file(self.mask),
            "claim_weights": b"".join(self.weights),
            "solution": b"".join(self.records.values()),
            "claim_other_tensors": OTHERS,
            "checkpoint": self.checkpoint,
            "claim_index": 3,
            "claim_leaf": self.leaf,
            "bundle": format_bundle(bundle),
        }
        return Case(**given | changed)


def mask_file(mask: np.ndarray) -> bytes:
    return maskfile.format_mask(TOTAL, np.flatnonzero(mask))


def make_claim(client: Client, mask: np.ndarray, solutions: Mapping[int, ChunkSolution]) -> Claim:
    """Commit to solutions; chunks without one keep their point."""
    weights, records = list(client.weights), {}
    base = client.release.predicate.digit_base
    for chunk, solution in sorted(solutions.items()):
        weights[chunk], records[chunk] = commitments.commit_solution(client.basis, client.layout, solution, base)
    return Claim(client, mask, solutions, weights, records)


def failures(case: Case) -> dict[int | None, str]:
    return verify_claim(case, BACKEND).failures


def scalar(columns: list[list[int]]) -> int:
    """The relation of docs/protocol.md on nine columns, in plain integers mod R: zero, or a false claim."""
    X, Y, H, D, tau, kept, J, Z, coefficients = columns
    blocks, size, rank, base = P.blocks, P.block_size, P.rank, P.columns << (P.logrows - 1)
    rho, alpha = coefficients[:rank], coefficients[rank:]
    rows = blocks * rank
    total = sum(tau[j] * X[j] - kept[j] * Y[j] for j in range(blocks * size))
    for b in range(blocks):
        for n in range(rank):
            row = b * rank + n
            v, e = Z[row] + base * Z[rows + row], Z[2 * rows + row]
            above = J[row] + base * J[rows + row]
            total -= alpha[b] * (J[2 * rows + row] * v + rho[n] * (e + above))
        for i in range(size):
            total += alpha[b] * H[b * size + i] * D[b * size + i]
    return total % R
