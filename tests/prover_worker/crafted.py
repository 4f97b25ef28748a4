"""False solutions, and how a claim with one of them fares when it is proved as well as the circuits allow."""

from dataclasses import replace

import numpy as np

from prover_worker import curve
from tests.prover_worker.story import chunk_mask, failures, make_claim, residual

RELATION = "the proof does not show the prescribed relation"
OTHER_DIGITS = "the range proof commits to other digits than the log does"
OTHER_X = "the proof commits to another X than the log does"
G = curve.from_affine(1, 2)


def moved(proof, column, step):
    """The proof with `step` added to one of the points that it begins with."""
    at = 64 * column
    x, y = (int.from_bytes(proof[i : i + 32], "big") for i in (at, at + 32))
    affine = curve.to_affine(curve.from_affine(x, y) + step)
    return proof[:at] + b"".join(c.to_bytes(32, "big") for c in affine) + proof[at + 64 :]


def nudge(solution, masked):
    new = solution.weights.copy()
    new[tuple(np.argwhere(~masked)[5])] += 1
    return replace(solution, weights=new)


def skipped(client, mask, chunk, solution):
    """Masked weights zeroed, the others as they were, v = 0, f = 0, and the e that is true then."""
    secret = client.secrets[chunk]
    new = np.where(chunk_mask(client, mask, chunk), 0, secret.weights)
    none = np.zeros_like(solution.v)
    return replace(solution, weights=new, f=np.zeros_like(new), v=none, e=residual(secret, new, none))


def mount(claim, solution, **changed):
    """Put a crafted solution of chunk 0 into the claim and prove it as well as the circuits allow."""
    crafted = make_claim(claim.client, claim.mask, {**claim.solutions, 0: solution})
    return failures(crafted.case(crafted.prove(**changed)))


def shifted(claim, step):
    """The solution for v moved by `step` (blocks, r), true in every other respect."""
    secret, masked = claim.client.secrets[0], chunk_mask(claim.client, claim.mask, 0)
    v = claim.solutions[0].v + step
    f = np.einsum("br,bri->bi", v, secret.factors)
    new = np.where(masked, 0, secret.weights - f)
    return replace(claim.solutions[0], weights=new, f=f, v=v, e=residual(secret, new, v))
