import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unlearning.reference_obs import objective, obs_by_kkt
from unlearning.errors import CurvatureError
from unlearning.obs import group_obs


def blocks(seed, nb=5, size=7, share=0.3):
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(nb, size, size))
    curvature = root @ root.transpose(0, 2, 1) + 0.1 * np.eye(size)
    return rng.normal(size=(nb, size)), rng.random((nb, size)) < share, curvature


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.floats(0, 1))
def test_equals_the_dense_kkt_solution(seed, share):
    theta, mask, curvature = blocks(seed, share=share)
    got = group_obs(*(torch.from_numpy(a) for a in (theta, mask, curvature))).numpy()
    want = np.stack([obs_by_kkt(*block) for block in zip(theta, mask, curvature, strict=True)])
    np.testing.assert_allclose(got, want, atol=1e-8)
    assert (got[mask] == 0).all()


def test_no_feasible_neighbour_does_better():
    theta, mask, curvature = blocks(3)
    got = group_obs(*(torch.from_numpy(a) for a in (theta, mask, curvature))).numpy()
    rng = np.random.default_rng(4)
    for block in range(len(theta)):
        best = objective(theta[block], got[block], curvature[block])
        for _ in range(20):
            other = got[block] + 0.1 * rng.normal(size=theta.shape[1]) * ~mask[block]
            assert objective(theta[block], other, curvature[block]) >= best


def test_nothing_masked_changes_nothing_and_everything_masked_is_zero():
    theta, _, curvature = (torch.from_numpy(a) for a in blocks(1))
    none = torch.zeros_like(theta, dtype=torch.bool)
    assert torch.equal(group_obs(theta, none, curvature), theta)
    assert not group_obs(theta, ~none, curvature).any()


def test_refuses_singular_curvature_and_wrong_shapes():
    theta, mask, curvature = (torch.from_numpy(a) for a in blocks(2))
    singular = curvature.clone()
    singular[3] = 0
    with pytest.raises(CurvatureError, match="block 3 is not positive definite"):
        group_obs(theta, torch.zeros_like(mask), singular)
    with pytest.raises(CurvatureError, match="expected"):
        group_obs(theta, mask.long(), curvature)
    with pytest.raises(CurvatureError, match="expected"):
        group_obs(theta, mask, curvature[:, :-1])
