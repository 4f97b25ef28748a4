"""The scalar of the relation, computed in Python from the prover's columns and from the protocol's vectors."""

from dataclasses import replace

import numpy as np
import pytest

from prover_worker.field import R
from prover_worker.layout import column_lengths
from prover_worker.prove import ChunkWitness, relation_columns
from tests.prover_worker.crafted import nudge, shifted, skipped
from tests.prover_worker.story import P, chunk_mask, make_mask, residual, scalar, solve

BASE = 2048


def columns(claim, chunk=0, solution=None, secrets=None, rows=None):
    witness = ChunkWitness(
        secrets or claim.client.secrets[chunk],
        solution or claim.solutions[chunk],
        claim.rows[chunk] if rows is None else rows,
    )
    return relation_columns(claim.client.layout, witness, claim.challenge, BASE)


@pytest.mark.parametrize("chunk", [0, 2])
def test_columns_are_the_combinations_of_the_protocol(claim, chunk):
    secret, solution, c = claim.client.secrets[chunk], claim.solutions[chunk], claim.challenge
    masked = chunk_mask(claim.client, claim.mask, chunk)
    X, Y, H, D, tau, kept, J, Z, coefficients = columns(claim, chunk)
    digits, rows = solution.digit_column(BASE, P.salt_rows), P.blocks * P.rank
    assert [len(column) for column in columns(claim, chunk)] == list(column_lengths(P).values())
    for b in range(P.blocks):
        for i in range(P.block_size):
            row = b * P.block_size + i
            w, u, f = (int(part[b, i]) for part in (secret.weights, solution.weights, solution.f))
            h = sum(c.rho[n] * int(secret.factors[b, n, i]) for n in range(P.rank))
            assert (X[row] - (u + c.beta * f + c.gamma * h)) % R == 0
            assert Y[row] == w - f
            assert (H[row] - h) % R == 0
            assert D[row] == u - w
            assert tau[row] == c.alpha[b] * c.sigma[i] % R
            assert kept[row] == (0 if masked[b, i] else tau[row])
        for n in range(P.rank):
            k = sum(c.sigma[i] * int(secret.factors[b, n, i]) for i in range(P.block_size))
            place = b * P.rank + n
            assert (J[2 * rows + place] - c.beta * k - P.damping * c.rho[n]) % R == 0
            assert (Z[2 * rows + place] - digits[2 * rows + place] - c.gamma * k) % R == 0
            for above in (place, rows + place):
                assert (J[above], Z[above]) == (0, digits[above] % R)
    assert coefficients == c.coefficients()


@pytest.mark.parametrize("chunk", [0, 2])
def test_an_honest_witness_gives_zero(claim, chunk):
    assert scalar(columns(claim, chunk)) == 0


@pytest.mark.parametrize("seed", range(5))
def test_honest_witnesses_of_other_masks_too(claim, client, seed):
    other = replace(claim, mask=make_mask(seed + 10), solutions=solve(client, make_mask(seed + 10)))
    assert scalar(columns(other, 0)) == scalar(columns(other, 2)) == 0


def bumped(array, place=(1, 2)):
    out = array.copy()
    out[place] += 1
    return out


def test_every_wrong_witness_gives_a_scalar_that_is_not_zero(claim):
    secret, honest = claim.client.secrets[0], claim.solutions[0]
    masked = chunk_mask(claim.client, claim.mask, 0)
    skip = skipped(claim.client, claim.mask, 0, honest)
    absorbed = np.rint(skip.e / P.damping).astype(np.int64)
    cases = {
        "a weight off by one": {"solution": nudge(honest, masked)},
        "f off by one": {"solution": replace(honest, f=bumped(honest.f))},
        "v off by one": {"solution": replace(honest, v=bumped(honest.v))},
        "e off by one": {"solution": replace(honest, e=bumped(honest.e))},
        "skipped, e a lie": {"solution": replace(skip, e=honest.e)},
        "skipped, v absorbs it": {
            "solution": replace(skip, v=absorbed, e=residual(secret, skip.weights, absorbed))
        },
        "another weight committed": {"secrets": replace(secret, weights=bumped(secret.weights))},
        "another factor committed": {"secrets": replace(secret, factors=bumped(secret.factors, (1, 2, 3)))},
        "another mask": {"rows": claim.rows[0][1:]},
        "no mask": {"rows": []},
    }
    for name, wrong in cases.items():
        assert scalar(columns(claim, **wrong)) != 0, name


def test_factors_committed_beside_v_are_found(claim):
    """Factors with entries in the rows of v would move v behind its range proof by γ Σ σ_i b_i.

    With A_n = B_n + d·b_n and b = SᵀB for a skew-symmetric S, everything but the check of J's upper parts
    vanishes: the two products that are left, d·γ⟨ρ,b⟩ and βγ⟨B,b⟩, cancel for every challenge. The operator would
    then be that of A and B, which are not the same, and no longer have one answer.
    """
    rng = np.random.default_rng(3)
    skew = rng.integers(-5, 6, (P.rank, P.rank))
    skew -= skew.T
    secret, c = claim.client.secrets[0], claim.challenge
    moved = np.einsum("mn,bmi->bni", skew, secret.factors)
    other = replace(secret, factors=secret.factors + P.damping * moved)
    v = rng.integers(-50, 51, claim.solutions[0].v.shape)
    f = np.einsum("bn,bni->bi", v, secret.factors)
    masked = chunk_mask(claim.client, claim.mask, 0)
    new = np.where(masked, 0, secret.weights - f)
    e = np.einsum("bni,bi->bn", other.factors, new - secret.weights) - P.damping * v
    X, Y, H, D, tau, kept, J, Z, coefficients = columns(
        claim, solution=replace(claim.solutions[0], weights=new, f=f, v=v, e=e), secrets=secret
    )
    rows_of_a = columns(claim, secrets=other)[2]
    X = [(x + c.gamma * (a - h)) % R for x, a, h in zip(X, rows_of_a, H, strict=True)]
    above = 0
    for b in range(P.blocks):
        for n in range(P.rank):
            k = sum(c.sigma[i] * int(moved[b, n, i]) for i in range(P.block_size)) % R
            place = b * P.rank + n
            J[place] = c.beta * k % R
            Z[place] = (Z[place] + c.gamma * k) % R
            above += c.alpha[b] * c.rho[n] * J[place]
    assert above % R != 0
    assert scalar([X, Y, rows_of_a, D, tau, kept, J, Z, coefficients]) == -above % R


def test_what_the_range_proof_must_refuse_satisfies_the_relation(claim):
    """Skipped and over-done compensation with the true residual: only the size of e tells them."""
    for solution in (skipped(claim.client, claim.mask, 0, claim.solutions[0]), shifted(claim, 100)):
        assert scalar(columns(claim, solution=solution)) == 0
        assert np.abs(solution.e).max() > 2048


def test_salt_rows_have_no_part_in_the_relation(claim):
    fresh = replace(claim.solutions[0], seed=b"other")
    assert columns(claim, solution=fresh)[0] != columns(claim)[0]
    assert scalar(columns(claim, solution=fresh)) == 0
