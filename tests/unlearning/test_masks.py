import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from unlearning import masks
from unlearning.errors import MaskError
from unlearning.gradients import Moments


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
    forget = Moments(torch.zeros(3), torch.tensor([1.0, 1.0, 0.5]))
    retain = Moments(torch.zeros(3), torch.tensor([4.0, 0.0, 0.0]))
    scores = masks.ratio(theta, forget, retain)
    assert scores.argsort(descending=True).tolist() == [1, 2, 0]
    torch.testing.assert_close(masks.ratio(theta, forget, retain._replace(fisher=retain.fisher * 9)) * 9, scores)
    assert torch.isfinite(masks.ratio(theta, forget, Moments(torch.zeros(3), torch.zeros(3)))).all()


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


def naive_in_runs(scores, count, lengths, density):
    """Runs by the mean of their best, then weights one by one."""
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    ranked = []
    for number, (start, length) in enumerate(zip(starts, lengths, strict=True)):
        most = min(max(int(density * length + 1e-9), 1), length)
        best = sorted(range(start, start + length), key=lambda i: (-scores[i], i))[:most]
        ranked.append((-sum(scores[i] for i in best) / most, number, best))
    return sorted([i for _, _, best in sorted(ranked) for i in best][:count])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 9), min_size=3, max_size=12), st.integers(0, 10**6), st.sampled_from([0.25, 0.5, 0.75])
)
def test_selection_in_runs_equals_the_naive_one(lengths, seed, density):
    total = sum(lengths)
    scores = np.random.default_rng(seed).integers(-3, 4, total).astype(float)
    budget = 0.2
    if round(budget * total) < 1:
        return
    runs = masks.Runs(np.array(lengths), density)
    if round(budget * total) > sum(min(max(int(density * length), 1), length) for length in lengths):
        with pytest.raises(MaskError, match="raise the density"):
            masks.select(torch.from_numpy(scores), budget, runs=runs)
        return
    got = masks.select(torch.from_numpy(scores), budget, runs=runs)
    assert got.tolist() == naive_in_runs(scores, round(budget * total), lengths, density)


def test_rows_concentrate_a_mask_and_chunks_more_so():
    scores = torch.from_numpy(np.random.default_rng(1).normal(size=4096))
    shapes = [(32, 64), (64, 32)]
    spread = masks.select(scores, 0.04)
    rows = masks.select(scores, 0.04, 16, masks.row_runs(shapes, 0.25))
    chunks = masks.select(scores, 0.04, 16, masks.chunk_runs(4096, 512, 0.25))
    assert len(spread) == len(rows) == len(chunks) == 164
    touched = [len(np.unique(mask // 512)) for mask in (spread, rows, chunks)]
    assert touched[0] == 8
    assert touched[2] == 2
    widths = np.repeat([64, 32], [32, 64])
    starts = np.concatenate([[0], np.cumsum(widths)[:-1]])
    number = np.searchsorted(starts, rows, side="right") - 1
    hit, per_row = np.unique(number, return_counts=True)
    assert (per_row <= widths[hit] // 4).all()
    assert (per_row != widths[hit] // 4).sum() <= 1  # all rows but the last are used up


def test_runs_that_cannot_give_a_good_mask_are_refused_before_any_score():
    for runs, budget, message in [
        (masks.row_runs([(8, 64)], 1.0), 0.04, "whole blocks of 16"),
        (masks.chunk_runs(512, 128, 0.02), 0.1, "raise the density"),
        (masks.row_runs([(8, 64)], 0.0), 0.04, "density 0.0"),
        (masks.row_runs([(8, 64)], 1.5), 0.04, "density 1.5"),
        (masks.row_runs([(8, 63)], 0.5), 0.04, "cover 504"),
        (masks.row_runs([(8, 64)], 0.5), 0.6, "budget 0.6"),
    ]:
        with pytest.raises(MaskError, match=message):
            masks.check_runs(budget, 512, 16, runs)
    with pytest.raises(MaskError, match="retain set"):
        masks.SCORES["ratio"].compute(masks.Evidence(torch.ones(2), Moments(torch.ones(2), torch.ones(2))))


def test_a_last_chunk_that_is_short_is_covered():
    runs = masks.chunk_runs(100, 48, 0.5)
    assert runs.lengths.tolist() == [48, 48, 4]
    scores = torch.zeros(100, dtype=torch.float64)
    scores[97:] = 1
    assert masks.select(scores, 0.02, runs=runs).tolist() == [97, 98]
