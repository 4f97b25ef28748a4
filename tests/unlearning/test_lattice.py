import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unlearning.reference_obs import obs_by_kkt
from unlearning import lattice
from unlearning.errors import GridError
from unlearning.integer_blocks import float_for
from unlearning.obs import Directions, group_obs

NB, R, B, D = 6, 3, 10, 40


def case(seed, share=0.25, limit=15, damping=D):
    rng = np.random.default_rng(seed)
    w = torch.from_numpy(np.rint(rng.normal(size=(NB, B)) * 2**18).astype(np.int64))
    factors = torch.from_numpy(rng.integers(-limit, limit + 1, (NB, R, B)))
    mask = torch.from_numpy(rng.random((NB, B)) < share)
    return w, factors, mask, damping


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.floats(0, 1), st.integers(1, 127), st.integers(1, 5000))
def test_every_equation_of_the_relation_holds_in_python_integers(seed, share, limit, damping):
    w, factors, mask, damping = case(seed, share, limit, damping)
    solution = lattice.solve(w, factors, mask, damping)
    assert all(part.dtype == torch.int64 for part in solution)
    for b in range(NB):
        weights, G, m = w[b].tolist(), factors[b].tolist(), mask[b].tolist()
        new, v, f, e = (part[b].tolist() for part in solution)
        assert f == [sum(v[k] * G[k][i] for k in range(R)) for i in range(B)]
        assert new == [0 if m[i] else weights[i] - f[i] for i in range(B)]
        assert e == [sum(G[k][i] * (new[i] - weights[i]) for i in range(B)) - damping * v[k] for k in range(R)]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.05, 0.9))
def test_is_obs_up_to_the_rounding_of_v(seed, share):
    w, factors, mask, damping = case(seed, share)
    solution = lattice.solve(w, factors, mask, damping)
    G = factors.double()
    curvature = G.transpose(1, 2) @ G + damping * torch.eye(B, dtype=torch.float64)
    dense = group_obs(w.double(), mask, curvature)
    for b in range(NB):
        naive = obs_by_kkt(w[b].double().numpy(), mask[b].numpy(), curvature[b].numpy())
        np.testing.assert_allclose(dense[b].numpy(), naive, atol=1e-4)
    half = G.abs().sum(dim=1) / 2  # v is off by at most 1/2 in every entry
    assert ((solution.w_new - dense).abs() <= half + 1e-4).all()
    kept = G * ~mask.unsqueeze(1)
    system = kept @ kept.transpose(1, 2) + damping * torch.eye(R, dtype=torch.float64)
    assert (solution.e.abs() <= system.abs().sum(dim=2) / 2 + 1e-3).all()


def test_unlearning_again_with_the_same_mask_changes_nothing():
    w, factors, mask, damping = case(5)
    once = lattice.solve(w, factors, mask, damping)
    twice = lattice.solve(once.w_new, factors, mask, damping)
    assert torch.equal(twice.w_new, once.w_new)
    assert not twice.v.any()


def test_blocks_do_not_touch_each_other_and_zero_blocks_are_free():
    w, factors, mask, damping = case(6)
    whole = lattice.solve(w, factors, mask, damping)
    for b in range(NB):
        alone = lattice.solve(w[b : b + 1], factors[b : b + 1], mask[b : b + 1], damping)
        assert all(torch.equal(part[b : b + 1], one) for part, one in zip(whole, alone, strict=True))
    padded = lattice.solve(torch.zeros_like(w), torch.zeros_like(factors), torch.zeros_like(mask), damping)
    assert not any(part.any() for part in padded)


@pytest.mark.parametrize(("entry", "kind"), [(63, torch.float32), (64, torch.float64), (5000, torch.float64)])
@pytest.mark.parametrize("damping", [10**10, 10**12])
def test_largest_sums_are_exact_in_float32_and_beyond(entry, kind, damping):
    size, rank = 64, 2
    assert float_for(entry, size) == kind
    w = torch.full((3, size), 2**24 - 1)
    w[1], w[2, ::2] = 1 - 2**24, 2**24 - 2049  # halves at both ends of their range
    factors = torch.full((3, rank, size), entry)
    factors[:, 1, 1::2] = -1
    mask = torch.ones_like(w, dtype=torch.bool)
    mask[:, -1], w[:, -1] = False, 12_345
    made = lattice.solve(w, factors, mask, damping)
    for b in range(3):
        weights, G, new, v = w[b].tolist(), factors[b].tolist(), made.w_new[b].tolist(), made.v[b].tolist()
        assert new == [0] * (size - 1) + [weights[-1] - sum(v[k] * G[k][-1] for k in range(rank))]
        change = [after - before for after, before in zip(new, weights, strict=True)]
        e = [sum(g * c for g, c in zip(G[k], change, strict=True)) - damping * v[k] for k in range(rank)]
        assert made.e[b].tolist() == e
        assert max(map(abs, e)) <= (damping + rank * entry**2) // 2 + 1


def test_large_multipliers_are_exact():
    w = torch.tensor([[2**23, 2**23 - 1]])
    made = lattice.solve(w, torch.tensor([[[1, 0]]]), torch.tensor([[True, False]]), damping=1)
    assert made.v.tolist() == [[-(2**23)]]
    assert made.f.tolist() == [[-(2**23), 0]]
    assert not made.e.any()


def test_blocks_without_a_masked_weight_stay_and_a_push_moves_them():
    w, factors, mask, damping = case(8)
    mask[1::2] = False
    made = lattice.solve(w, factors, mask, damping)
    assert torch.equal(made.w_new[1::2], w[1::2])
    assert not made.f[1::2].any()
    assert not made.v[1::2].any()
    push = torch.zeros(NB, 1, dtype=torch.int64)
    push[3] = 10**6
    directions = Directions(torch.ones(NB, 1, B, dtype=torch.int64) * ~mask.unsqueeze(1), push, 40)
    pushed = lattice.solve_directed(w, factors, mask, damping, directions)
    assert torch.equal(pushed.w_new[1], w[1])
    assert not torch.equal(pushed.w_new[3], w[3])


def test_int8_factors_serve_as_well():
    w, factors, mask, damping = case(7)
    wide, narrow = (lattice.solve(w, factors.to(kind), mask, damping) for kind in (torch.int64, torch.int8))
    assert all(torch.equal(a, b) for a, b in zip(wide, narrow, strict=True))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-(2**24) + 1, 2**24 - 1), min_size=1, max_size=20), st.integers(1, 24))
def test_grid_round_trip(numbers, bits):
    w = torch.tensor(numbers)
    theta = lattice.from_grid(w, bits)
    assert theta.dtype == torch.float32
    assert torch.equal(lattice.to_grid(theta, bits), w)


def test_grid_rounds_to_the_nearest_step():
    theta = torch.randn(1000)
    error = (lattice.from_grid(lattice.to_grid(theta, 20), 20) - theta).abs()
    assert float(error.max()) <= 2.0**-21


@pytest.mark.parametrize("bad", [4.0, -4.0, float("nan"), float("inf")])
def test_to_grid_refuses_what_does_not_fit(bad):
    with pytest.raises(GridError, match="expected"):
        lattice.to_grid(torch.tensor([0.5, bad]), 22)


def test_from_grid_refuses_2_to_the_24():
    with pytest.raises(GridError, match="16777216"):
        lattice.from_grid(torch.tensor([2**24]), 20)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 127))
def test_quantised_blocks_fill_the_range(seed, limit):
    factors = torch.from_numpy(np.random.default_rng(seed).normal(size=(4, 3, 8)) * 1e-7)
    factors[2] = 0
    got = lattice.quantise_factors(factors, limit)
    assert got.abs().amax(dim=(1, 2)).tolist() == [limit, limit, 0, limit]
    scale = factors.abs().amax(dim=(1, 2), keepdim=True).clamp(min=1e-30)
    assert float((got - factors / scale * limit).abs().max()) <= 0.5 + 1e-6


def test_quantise_refuses_non_finite_and_zero_limit():
    with pytest.raises(GridError, match="not finite"):
        lattice.quantise_factors(torch.full((1, 1, 2), float("nan")), 31)
    with pytest.raises(GridError, match="limit 0"):
        lattice.quantise_factors(torch.ones(1, 1, 2), 0)


def test_solve_refuses_bad_arguments():
    w, factors, mask, damping = case(8)
    for arguments, message in [
        ((w.double(), factors, mask, damping), "integers"),
        ((w, factors.double(), mask, damping), "integers"),
        ((w, factors, mask.long(), damping), "bool"),
        ((w, factors[:, :, :-1], mask, damping), "expected"),
        ((w, factors[:-1], mask, damping), "expected"),
        ((w, factors, mask, 0), "damping 0"),
        ((w + 2**24, factors, mask, damping), "2\\^24"),
        ((w, factors * 2**30, mask, damping), "no room"),
    ]:
        with pytest.raises(GridError, match=message):
            lattice.solve(*arguments)


def test_solve_refuses_an_answer_off_the_grid():
    w = torch.tensor([[2**24 - 1, 2**24 - 1]])
    with pytest.raises(GridError, match="compensated weight"):
        lattice.solve(w, torch.tensor([[[100, 99]]]), torch.tensor([[True, False]]), 1)


def test_temper_keeps_residuals_of_flat_blocks_in_range():
    """A block whose top direction is flat: every entry at the limit. Untempered, its residual leaves the table."""
    generator = torch.Generator().manual_seed(3)
    blocks, rank, size, damping, tolerance = 400, 8, 64, 1024, 16366
    factors = torch.randint(-31, 32, (blocks, rank, size), generator=generator)
    factors[: blocks // 2] = 31 * torch.sign(torch.randn(blocks // 2, rank, size, generator=generator)).long()
    factors[: blocks // 2, 1:] = factors[: blocks // 2, :1]  # all rows alike: the heaviest curvature there is
    w = (torch.randn(blocks, size, generator=generator) * 2e5).round().long()
    mask = torch.rand(blocks, size, generator=generator) < 0.04
    assert lattice.solve(w, factors, mask, damping).e.abs().max() > tolerance
    tempered = lattice.temper(factors.to(torch.int8), damping, tolerance)
    assert lattice.solve(w, tempered, mask, damping).e.abs().max() <= tolerance


def test_temper_leaves_ordinary_blocks_alone():
    factors = torch.randint(-10, 11, (50, 4, 32), generator=torch.Generator().manual_seed(1)).to(torch.int8)
    assert torch.equal(lattice.temper(factors, 1024, 16366), factors)


def test_temper_refuses_a_damping_without_room():
    with pytest.raises(GridError, match="leaves no room"):
        lattice.temper(torch.zeros(1, 2, 4, dtype=torch.int8), 1000, 600)
