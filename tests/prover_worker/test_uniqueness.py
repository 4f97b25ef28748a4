"""Near-uniqueness: why nobody gains from committing to strange factors, and why they need no range check."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prover_worker.errors import ProvingFailed
from prover_worker.field import R, expand
from tests.prover_worker.crafted import OTHER_DIGITS, RELATION, skipped
from tests.prover_worker.story import (
    Client,
    failures,
    make_claim,
    residual,
)


def huge_client(client):
    """A client that committed to random field elements where its factors should be."""
    own = client.secrets[0]
    elements = np.array(expand(b"huge", b"factors", own.factors.size), dtype=object).reshape(own.factors.shape)
    return Client(client.release, {**client.secrets, 0: replace(own, factors=elements)})


def test_factors_of_huge_field_elements_leave_no_answer(client, alone):
    """Nothing stops a client from committing to them, and nothing is gained: no deployable answer has a small e.

    With v = 0 the residual is a random field element, which no digit holds. A lie about it fails in the relation.
    """
    cheat = huge_client(client)
    honest, secret = alone.solutions, cheat.secrets[0]
    solution = skipped(client, alone.mask, 0, honest[0])
    true = np.vectorize(lambda x: x % R, otypes=[object])(residual(secret, solution.weights, solution.v))
    assert min(min(x, R - x) for x in true[np.any(true != 0, axis=1)].ravel()) > 2**200

    crafted = make_claim(cheat, alone.mask, {**honest, 0: replace(solution, e=np.zeros_like(solution.e))})
    assert failures(crafted.case(crafted.prove())) == {0: RELATION}

    solution = replace(solution, e=true)
    crafted = make_claim(cheat, alone.mask, {**honest, 0: solution})
    with pytest.raises(ProvingFailed, match="outside the range"):
        crafted.prove_group()
    tame = {**honest, 0: replace(solution, e=np.zeros_like(solution.v))}
    assert failures(crafted.case(crafted.prove(ranges=tame))) == {0: OTHER_DIGITS}


field_elements = st.one_of(
    st.integers(0, R - 1),
    st.integers(-20, 20),
    st.builds(lambda a, b: a * pow(b, -1, R) % R, st.integers(-50, 50), st.integers(1, 50)),
)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_two_answers_to_one_commitment_obey_the_identity_for_any_factors(data):
    """d·|x|² + |Δδ|² = -x·Δe mod R, whatever Ĝ is: the reason why factors need no range check."""
    rank, size, damping = 3, 6, data.draw(st.integers(1, 2**16))
    draw = lambda count, elements: data.draw(st.lists(elements, min_size=count, max_size=count))  # noqa: E731
    factors = [draw(size, field_elements) for _ in range(rank)]
    weights, masked = draw(size, st.integers(-(2**24), 2**24)), draw(size, st.booleans())
    answers = []
    for v in (draw(rank, field_elements), draw(rank, field_elements)):
        moved = [sum(v[n] * factors[n][i] for n in range(rank)) for i in range(size)]
        delta = [-weights[i] if masked[i] else -moved[i] for i in range(size)]
        e = [sum(factors[n][i] * delta[i] for i in range(size)) - damping * v[n] for n in range(rank)]
        answers.append((v, delta, e))
    x, apart, de = ([a - b for a, b in zip(p, q, strict=True)] for p, q in zip(*answers, strict=True))
    left = damping * sum(a * a for a in x) + sum(a * a for a in apart)
    assert (left + sum(a * b for a, b in zip(x, de, strict=True))) % R == 0


@pytest.mark.parametrize("denominator", [1, 2, 7, 64, 97, 1000])
@pytest.mark.parametrize("seed", range(3))
def test_no_choice_of_fractional_factors_gives_two_far_apart_answers(denominator, seed):
    """Search: factors a/q in the field, where multiples of q give integers again. Every v is tried.

    Deployable answers with a residual in range may be several; none are further apart than 2τ/√d grid steps.
    """
    rng, size, damping, tolerance = np.random.default_rng(seed), 6, 64, 2048
    inverse = pow(denominator, -1, R)
    factors = [int(a) * inverse % R for a in rng.integers(-30, 31, size)]
    weights = [int(w) for w in rng.integers(-20_000, 20_000, size)]
    masked = [True, True, False, False, False, False]
    pull = sum(-factors[i] * weights[i] for i in range(size) if masked[i]) % R
    stiff = (sum(factors[i] ** 2 for i in range(size) if not masked[i]) + damping) % R
    found = []
    for v in range(-20_000, 20_001):
        if small((pull - stiff * v) % R, tolerance):
            moved = [signed(-v * factors[i] % R) for i in range(size) if not masked[i]]
            if all(abs(m) < 2**25 for m in moved):
                found.append(moved)
    spread = max((np.linalg.norm(np.subtract(a, b)) for a, b in itertools.combinations(found, 2)), default=0.0)
    assert spread <= 2 * tolerance / np.sqrt(damping)
    assert denominator > 1 or found, "plain integers have an answer"


def signed(x):
    return x if x <= R // 2 else x - R


def small(x, bound):
    return abs(signed(x)) <= bound
