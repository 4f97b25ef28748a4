import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unlearning import masks
from unlearning.errors import MaskError


def test_saliency_is_equation_15():
    theta, gradient, fisher = (
        torch.tensor([1.0, -2.0, 0.5]),
        torch.tensor([0.1, 0.2, 0.0]),
        torch.tensor([1.0, 2.0, 3.0]),
    )
    got = masks.saliency(theta, gradient, fisher, damping=0.5)
    want = [-0.1 + 0.5 * 2.0, 0.4 + 0.5 * 3.0 * 4, 0.5 * 4.0 * 0.25]
    torch.testing.assert_close(got, torch.tensor(want, dtype=torch.float64))


def test_saliency_predicts_the_loss_of_a_quadratic():
    """Where the loss is quadratic with a diagonal Hessian, S is the change of loss exactly."""
    rng = np.random.default_rng(0)
    theta, minimum = rng.normal(size=(2, 6))
    hessian = rng.random(6) + 0.1

    def loss(at):
        return 0.5 * float((hessian * (at - minimum) ** 2).sum())

    pieces = (torch.from_numpy(a) for a in (theta, hessian * (theta - minimum), hessian))
    scores = masks.saliency(*pieces, damping=0.0)
    for i in range(6):
        assert float(scores[i]) == pytest.approx(loss(np.where(np.arange(6) == i, 0, theta)) - loss(theta))


def test_ratio_spares_what_others_need_and_ignores_the_scale_of_the_retain_loss():
    theta = torch.ones(3)
    forget = (torch.zeros(3), torch.tensor([1.0, 1.0, 0.5]))
    retain = (torch.zeros(3), torch.tensor([4.0, 0.0, 0.0]))
    scores = masks.ratio(theta, forget, retain)
    assert scores.argsort(descending=True).tolist() == [1, 2, 0]
    torch.testing.assert_close(masks.ratio(theta, forget, (retain[0], retain[1] * 9)) * 9, scores)
    assert torch.isfinite(masks.ratio(theta, forget, (torch.zeros(3), torch.zeros(3)))).all()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-3, 3), min_size=3, max_size=60), st.floats(0.01, 0.49))
def test_select_equals_a_sort_with_ties_to_the_lower_position(scores, budget):
    count = round(budget * len(scores))
    if count == 0:
        with pytest.raises(MaskError, match="1 or more"):
            masks.select(torch.tensor(scores).double(), budget)
        return
    got = masks.select(torch.tensor(scores).double(), budget)
    assert got.dtype == np.int64
    assert got.tolist() == sorted(sorted(range(len(scores)), key=lambda i: (-scores[i], i))[:count])


def test_select_refuses_a_wholly_masked_block():
    scores = torch.tensor([0.0, 1, 0, 0, 9, 9, 9, 9, 0, 0])
    assert masks.select(scores, 0.4).tolist() == [4, 5, 6, 7]
    with pytest.raises(MaskError, match="whole block of 2"):
        masks.select(scores, 0.4, block_size=2)
    assert masks.select(scores, 0.4, block_size=5).tolist() == [4, 5, 6, 7]


@pytest.mark.parametrize("budget", [0, -0.1, 0.5, 1, float("nan")])
def test_budgets_outside_the_range_are_refused(budget):
    with pytest.raises(MaskError, match="budget"):
        masks.select(torch.ones(100), budget)


def test_other_bad_input_is_refused():
    with pytest.raises(MaskError, match="not finite"):
        masks.select(torch.tensor([1.0, float("nan"), 2.0, 3.0]), 0.3)
    with pytest.raises(MaskError, match="one length"):
        masks.saliency(torch.ones(3), torch.ones(2), torch.ones(3))
