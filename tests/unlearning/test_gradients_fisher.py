import numpy as np
import pytest
import torch
from torch.nn import functional

from unlearning import backbones, fisher, gradients
from unlearning.errors import ArchitectureError, CurvatureError, DatasetError


@pytest.fixture
def rows(tiny_model, samples):
    names = backbones.target_names(tiny_model)
    return torch.cat(list(gradients.per_sample(tiny_model, *samples, names, batch=5)))


def test_per_sample_gradients_equal_one_backward_pass_each(tiny_model, samples, rows):
    names = backbones.target_names(tiny_model)
    for image, label, row in zip(*samples, rows, strict=True):
        tiny_model.zero_grad()
        logits = tiny_model(torch.from_numpy(image)[None])
        functional.cross_entropy(logits, torch.tensor([label])).backward()
        naive = torch.cat([tiny_model.get_parameter(name).grad.reshape(-1) for name in names])
        torch.testing.assert_close(row, naive, rtol=1e-4, atol=1e-6)


def test_mean_gradient_is_the_mean_of_the_rows_whatever_the_batch(tiny_model, samples, rows):
    names = backbones.target_names(tiny_model)
    for batch in (5, 100):
        mean = gradients.mean_gradient(tiny_model, *samples, names, batch)
        torch.testing.assert_close(mean, rows.mean(dim=0), rtol=1e-4, atol=1e-6)
    assert all(parameter.grad is None for parameter in tiny_model.parameters())


def test_data_that_does_not_fit_the_model_is_refused(tiny_model, samples):
    names = backbones.target_names(tiny_model)
    x, y = samples
    for images, labels, message in [
        (x[:0], y[:0], "0 images"),
        (x, y[:-1], "11 labels"),
        (x, y + 5, "expected 0 to 9"),
        (np.zeros((2, 1, 9, 9), np.float32), y[:2], "use the data it was made for"),
        (np.zeros((2, 3, 8, 8), np.float32), y[:2], "use the data it was made for"),
    ]:
        with pytest.raises(DatasetError, match=message):
            gradients.mean_gradient(tiny_model, images, labels, names)
    with pytest.raises(ArchitectureError, match="wings"):
        next(gradients.per_sample(tiny_model, x, y, ["wings"]))


def test_block_factors_are_the_best_low_rank_fit():
    rows = torch.from_numpy(np.random.default_rng(0).normal(size=(20, 24)).astype(np.float32))
    size, rank = 8, 3
    got = fisher.block_factors([rows[:7], rows[7:]], size, rank).double()
    assert got.shape == (3, rank, size)
    for block, factor in enumerate(got):
        piece = rows[:, block * size : (block + 1) * size].double()
        _, values, right = torch.linalg.svd(piece / 20**0.5)
        best = right[:rank].T @ torch.diag(values[:rank] ** 2) @ right[:rank]
        torch.testing.assert_close(factor.T @ factor, best, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(factor.norm(dim=1), values[:rank], rtol=1e-4, atol=1e-5)
        peaks = factor.gather(1, factor.abs().argmax(dim=1, keepdim=True))
        assert (peaks > 0).all()


def test_full_rank_factors_are_the_fisher_and_share_its_diagonal(rows):
    size = 32
    factors = fisher.block_factors([rows], size, size)
    exact = torch.einsum("nbi,nbj->bij", *[rows.view(len(rows), -1, size)] * 2) / len(rows)
    torch.testing.assert_close(factors.transpose(1, 2) @ factors, exact, rtol=1e-3, atol=1e-6)
    diagonal = fisher.diagonal([rows[:3], rows[3:]])
    torch.testing.assert_close(exact.diagonal(dim1=1, dim2=2).reshape(-1), diagonal, rtol=1e-4, atol=1e-9)


def test_bad_gradients_are_refused():
    ones = torch.ones(4, 8)
    for grads, size, rank, message in [
        ([], 4, 2, "no gradients"),
        ([ones[:0]], 4, 2, "no gradients"),
        ([ones], 3, 2, "multiple of 3"),
        ([ones], 4, 5, "rank 5"),
        ([ones], 4, 0, "rank 0"),
        ([ones * float("nan")], 4, 2, "not finite"),
    ]:
        with pytest.raises(CurvatureError, match=message):
            fisher.block_factors(grads, size, rank)
    with pytest.raises(CurvatureError, match="no gradients"):
        fisher.diagonal([])
