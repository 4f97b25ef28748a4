"""Compensation beside forget directions: floats against the dense system, integers against both, and attacks."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unlearning.reference_obs import obs_by_kkt
from unlearning import lattice
from unlearning.errors import CurvatureError, GridError
from unlearning.obs import Directions, group_obs

NB, R, Q, B, D, SOFT = 5, 3, 2, 12, 40, 6


def case(seed, share=0.25, q=Q):
    rng = np.random.default_rng(seed)
    w = torch.from_numpy(np.rint(rng.normal(size=(NB, B)) * 2**18).astype(np.int64))
    factors = torch.from_numpy(rng.integers(-15, 16, (NB, R, B)))
    mask = torch.from_numpy(rng.random((NB, B)) < share)
    rows = torch.from_numpy(rng.integers(-7, 8, (NB, q, B)))
    push = torch.from_numpy(rng.integers(0, 2**20, (NB, q)))
    return w, factors, mask, Directions(rows, push, SOFT)


def dense(factors, damping=D):
    G = factors.double()
    return G.transpose(1, 2) @ G + damping * torch.eye(G.shape[2], dtype=torch.float64)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.floats(0, 0.6), st.sampled_from([0.0, 0.01, 1.0, 100.0]))
def test_whole_blocks_equal_the_dense_kkt_solution(seed, share, softness):
    w, factors, mask, (rows, push, _) = case(seed, share)
    theta, curvature = w.double() / 2**18, dense(factors)
    push = push.double() / 2**18
    got = group_obs(theta, mask, curvature, Directions(rows, push, softness)).numpy()
    for b in range(NB):
        if softness == 0 and np.linalg.matrix_rank(np.where(mask[b], 0, rows[b])) < Q:
            continue  # an exact constraint that contradicts itself has no dense solution to compare with
        want = obs_by_kkt(
            theta[b].numpy(),
            mask[b].numpy(),
            curvature[b].numpy(),
            rows[b].numpy(),
            push[b].numpy(),
            1 / softness if softness else None,
        )
        np.testing.assert_allclose(got[b], want, atol=1e-6)


def test_an_exact_constraint_is_met_and_a_direction_of_zeros_is_ignored():
    w, factors, mask, directions = case(11)
    theta, rows = w.double() / 2**18, directions.rows.double()
    rows[2] = 0
    new = group_obs(theta, mask, dense(factors), Directions(rows, directions.push.double(), 0.0))
    seen = (rows * ~mask.unsqueeze(1) @ (new - theta).unsqueeze(2)).squeeze(2)
    others = [0, 1, 3, 4]
    torch.testing.assert_close(seen[others], directions.push.double()[others], rtol=1e-6, atol=1e-4)
    torch.testing.assert_close(new[2:3], group_obs(theta[2:3], mask[2:3], dense(factors[2:3])))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.floats(0, 1), st.integers(0, 4))
def test_every_equation_of_the_relation_holds_in_python_integers(seed, share, q):
    w, factors, mask, directions = case(seed, share, q)
    made = lattice.solve_directed(w, factors, mask, D, directions)
    assert all(part.dtype == torch.int64 for part in made)
    for b in range(NB):
        weights, G, U, m = w[b].tolist(), factors[b].tolist(), directions.rows[b].tolist(), mask[b].tolist()
        new, v, f, e, mu, slack = (part[b].tolist() for part in made)
        change = [new[i] - weights[i] for i in range(B)]
        assert f == [
            sum(v[k] * G[k][i] for k in range(R)) + sum(mu[k] * U[k][i] for k in range(q)) for i in range(B)
        ]
        assert new == [0 if m[i] else weights[i] - f[i] for i in range(B)]
        assert e == [sum(G[k][i] * change[i] for i in range(B)) - D * v[k] for k in range(R)]
        kept = [sum(U[k][i] * change[i] for i in range(B) if not m[i]) for k in range(q)]
        assert slack == [kept[k] - int(directions.push[b, k]) - SOFT * mu[k] for k in range(q)]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.floats(0, 0.9))
def test_integers_are_the_float_solution_up_to_rounding_and_residuals_are_bounded(seed, share):
    w, factors, mask, directions = case(seed, share)
    made = lattice.solve_directed(w, factors, mask, D, directions)
    A = torch.cat([factors, directions.rows], dim=1).double()
    floats = group_obs(w.double(), mask, dense(factors), directions._replace(softness=SOFT / D))
    assert ((made.w_new - floats).abs() <= A.abs().sum(1) / 2 + 1e-4).all()
    kept = A * ~mask.unsqueeze(1)
    diagonal = torch.diag(torch.tensor([D] * R + [SOFT] * Q, dtype=torch.float64))
    bound = (kept @ kept.transpose(1, 2) + diagonal).abs().sum(2) / 2 + 1e-3
    assert (torch.cat([made.e, made.slack], dim=1).abs() <= bound).all()


@pytest.mark.parametrize("threads", [1, 2])
def test_many_blocks_go_through_in_slices_and_runs(monkeypatch, threads):
    w, factors, mask, directions = case(8)
    whole = lattice.solve_directed(w, factors, mask, D, directions)
    before = torch.get_num_threads()
    monkeypatch.setattr(lattice, "_BLOCKS_PER_RUN", 3)
    monkeypatch.setattr(lattice.obs.slices, "__defaults__", (2,))
    try:
        torch.set_num_threads(threads)
        parts = lattice.solve_directed(w, factors, mask, D, directions)
        with pytest.raises(GridError, match="2\\^24"):
            lattice.solve_directed(w, factors, mask, D, directions._replace(push=directions.push * 2**12))
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(whole, parts, strict=True))


def test_a_push_raises_the_forget_loss_to_first_order_and_none_leaves_it():
    """The direction is a gradient: U d > 0 raises that loss. Plain OBS lowers it here, which is the harm."""
    theta = torch.tensor([[1.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
    mask = torch.tensor([[True, False, False, False]])
    factors = torch.tensor([[[1.0, 1.0, 0.0, 0.0]]], dtype=torch.float64)
    rows = torch.tensor([[[0.0, -1.0, 0.0, 0.5]]], dtype=torch.float64)  # restoring weight 1 lowers this loss

    def toward(push):
        directions = None if push is None else Directions(rows, torch.tensor([[push]]).double(), 1e-5)
        return float((rows[0, 0] * (group_obs(theta, mask, dense(factors, 0.1), directions) - theta)[0]).sum())

    assert toward(None) < -0.5
    assert toward(0.0) == pytest.approx(0, abs=1e-4)
    assert toward(0.3) == pytest.approx(0.3, abs=1e-4)


def test_curvature_along_a_direction_resists_it_as_the_formula_says_and_only_mu_shows_it():
    """A client that guessed the direction commits to factors along it: residuals stay small, mu grows."""
    w, factors, mask, (rows, push, _) = case(3, q=1)
    shown = []
    for along in (0, 3, 30):
        factors[:, 0] = along * rows[:, 0]
        made = lattice.solve_directed(w, factors, mask, D, Directions(rows, push, SOFT))
        plain = lattice.solve(w, factors, mask, D)
        for b in range(NB):
            kept = ~mask[b]
            U, G = rows[b, 0][kept].double(), factors[b][:, kept].double()
            free = U @ torch.linalg.solve(torch.eye(len(U)).double() + G.T @ G / D, U)
            gap, without = (float(U @ (to.w_new - w)[b][kept].double()) - int(push[b, 0]) for to in (made, plain))
            assert gap == pytest.approx(float(SOFT / (SOFT + free)) * without, rel=0.02, abs=200)
            assert abs(gap - SOFT * int(made.mu[b, 0])) < 4000
        shown.append(made.mu.abs())
    assert (shown[1] > 5 * shown[0]).all()
    assert int(shown[2].min()) > 10_000


def accepted(w, factors, mask, directions, v, mu, tolerance):
    """What a verifier accepts, by the formulas: w' if both residuals are within the tolerance, else None."""
    A = torch.cat([factors, directions.rows], dim=1)
    f = torch.cat([v, mu], dim=1).unsqueeze(1) @ A
    new = torch.where(mask, 0, w - f.squeeze(1))
    change = new - w
    e = (factors @ change.unsqueeze(2)).squeeze(2) - D * v
    slack = (directions.rows @ change.masked_fill(mask, 0).unsqueeze(2)).squeeze(2) - directions.push - SOFT * mu
    return new if int(e.abs().max()) <= tolerance and int(slack.abs().max()) <= tolerance else None


def tuned():
    """Every eigenvalue of A A^T equals its damping, nothing is masked: where the bound is attained."""
    factors, rows = torch.zeros(1, R, B, dtype=torch.int64), torch.zeros(1, Q, B, dtype=torch.int64)
    for k in range(R):
        factors[0, k, 2 * k : 2 * k + 2] = torch.tensor([2, 6])
    for k in range(Q):
        rows[0, k, 6 + 3 * k : 9 + 3 * k] = torch.tensor([1, 1, 2])
    return (
        torch.zeros(1, B).long(),
        factors,
        torch.zeros(1, B).bool(),
        Directions(rows, torch.zeros(1, Q).long(), SOFT),
    )


def ordinary(seed):
    w, factors, mask, (rows, push, soft) = case(seed)
    scale = (seed % 3) * 20  # factors that do not bind at all, and ones that bind far too much
    return w[:1], factors[:1] * scale, mask[:1], Directions(rows[:1], push[:1], soft)


@pytest.mark.parametrize(("cases", "reached"), [([ordinary(seed) for seed in range(12)], 0.1), ([tuned()], 0.9)])
def test_a_search_among_accepted_answers_finds_no_pair_beyond_the_bound(cases, reached):
    """Near-uniqueness, attacked: pairs whose residuals are aimed at opposite corners of the table, and walks."""
    rng = np.random.default_rng(5)
    tolerance, farthest, found = 4000, 0.0, 0
    bound = (R * tolerance**2 / D + Q * tolerance**2 / SOFT) ** 0.5  # residuals differ by twice the tolerance
    for w, factors, mask, directions in cases:
        honest = lattice.solve_directed(w, factors, mask, D, directions)
        at = torch.cat([honest.v, honest.mu], dim=1)
        A = torch.cat([factors, directions.rows], dim=1).double() * ~mask.unsqueeze(1)
        system = A[0] @ A[0].T + torch.diag(torch.tensor([D] * R + [SOFT] * Q, dtype=torch.float64))
        corners = torch.from_numpy(rng.choice([-1.0, 1.0], size=(200, R + Q))) * tolerance * 0.98
        steps = torch.linalg.solve(system, corners.T).T.round().long()
        walks = torch.from_numpy(rng.integers(-40, 41, size=(200, R + Q)))
        for step in (*steps, *walks):
            pair = [
                accepted(w, factors, mask, directions, to[:, :R], to[:, R:], tolerance)
                for to in (at + step, at - step)
            ]
            if all(new is not None for new in pair):
                found += 1
                farthest = max(farthest, float((pair[0] - pair[1]).double().norm()) / bound)
    assert found > 100
    assert reached < farthest <= 1  # near enough to the bound to have broken a wrong one


def test_bad_directions_are_refused():
    w, factors, mask, directions = case(8)
    rows, push, _ = directions
    for wrong, message in [
        (directions._replace(rows=rows[:, :, :-1]), "forget directions"),
        (directions._replace(push=push[:, :-1]), "push"),
        (directions._replace(softness=0), "softness 0"),
        (directions._replace(softness=1.5), "integer"),
        (directions._replace(rows=rows.double()), "integers"),
        (directions._replace(push=push * 2**40), "no room|grid steps"),
    ]:
        with pytest.raises(GridError, match=message):
            lattice.solve_directed(w, factors, mask, D, wrong)
    theta = w.double()
    for wrong in (directions._replace(softness=-1.0), directions._replace(softness=float("inf"))):
        with pytest.raises(CurvatureError, match="softness"):
            group_obs(theta, mask, dense(factors), wrong)
