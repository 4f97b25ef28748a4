import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from tests.unlearning.conftest import TINY_OPT
from unlearning import backbones, fisher, gradients, losses
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


def test_rows_equal_automatic_differentiation_of_single_samples(tiny_model, samples, rows):
    """The general way, torch's vmap over grad, which needs no linear layers but all rows at once."""
    names = backbones.target_names(tiny_model)
    weights = {name: tiny_model.get_parameter(name).detach() for name in names}

    def loss(weights, image, label):
        return functional.cross_entropy(functional_call(tiny_model, weights, (image[None],)), label[None])

    with sdpa_kernel(SDPBackend.MATH):
        x, y = (torch.from_numpy(part) for part in samples)
        made = vmap(grad(loss), in_dims=(None, 0, 0))(weights, x, y)
    torch.testing.assert_close(rows, torch.cat([made[n].flatten(1) for n in names], 1), rtol=1e-4, atol=1e-6)


def test_layers_that_see_flat_tokens_or_are_used_twice_are_traced(samples):
    torch.manual_seed(1)
    language = backbones.build(TINY_OPT)  # OPT's MLPs see all tokens of all samples in one long list
    tokens = torch.randint(0, 256, (3, 9))

    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.head = nn.Linear(8, 8), nn.Linear(8, 10)

        def forward(self, x):
            return self.head(self.layer(self.layer(x[:, 0]).relu()).mean(1))

    images, labels = (torch.from_numpy(part[:4]) for part in samples)
    for model, x, y, names in [
        (language, tokens[:, :-1], tokens[:, 1:], backbones.target_names(language, "fc1+fc2")),
        (Twice(), images, labels, ["layer.weight"]),
    ]:
        got = torch.cat(list(gradients.per_sample(model, x, y, names, batch=2)))
        for sample, label, row in zip(x, y, got, strict=True):
            loss = losses.per_sample(model(sample[None]), label[None]).sum()
            naive = torch.autograd.grad(loss, [model.get_parameter(name) for name in names])
            torch.testing.assert_close(row, torch.cat([g.flatten() for g in naive]), rtol=1e-4, atol=1e-6)


def test_moments_are_those_of_the_rows_whatever_the_batch_and_the_slices(tiny_model, samples, rows, monkeypatch):
    names, seen = backbones.target_names(tiny_model), []
    for floats in (16_000_000, 5 * 32 * 3):
        monkeypatch.setattr(gradients, "_FLOATS_PER_SLICE", floats)
        seen.clear()
        mean, squares = gradients.moments(tiny_model, *samples, names, 5, lambda done, _: seen.append(done))
        torch.testing.assert_close(mean, rows.mean(dim=0), rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(squares, fisher.diagonal([rows]), rtol=1e-4, atol=1e-8)
        assert seen == [5 / 12, 10 / 12, 1]


def test_a_layers_factors_are_the_same_in_slices_and_need_whole_blocks(tiny_model, samples, rows, monkeypatch):
    name = backbones.target_names(tiny_model)[0]
    with gradients.spooled(tiny_model, *samples, [name], 5) as spool:
        trace = spool.trace(name)
    whole = fisher.layer_factors(trace, 64, 3)
    monkeypatch.setattr(gradients, "_FLOATS_PER_SLICE", 12 * 32 * 7)  # blocks of two rows: seven becomes six
    assert [part.stop - part.start for part in trace.slices(2)][:2] == [6, 6]
    sliced = fisher.layer_factors(trace, 64, 3)
    torch.testing.assert_close(sliced.mT @ sliced, whole.mT @ whole, rtol=1e-3, atol=1e-7)
    dense = fisher.block_moments([rows[:, : 128 * 32]], 64)
    values = torch.linalg.eigvalsh(dense.double())[:, -3:].sum(1)
    torch.testing.assert_close(whole.double().square().sum((1, 2)), values, rtol=1e-4, atol=1e-9)
    with pytest.raises(CurvatureError, match="128 x 32 weights"):
        fisher.layer_factors(trace, 96, 3)


def test_factors_do_not_depend_on_the_number_of_threads(rows):
    threads = torch.get_num_threads()
    try:
        made = []
        for count in (1, 2):
            torch.set_num_threads(count)
            made.append(fisher.block_factors([rows], 16, 4))
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(threads)
    assert len(made[0]) > fisher._EIGEN_SLICE  # so that there is something to share out
    torch.testing.assert_close(made[1], made[0], rtol=1e-3, atol=1e-6)


def test_the_model_is_left_as_it_was(tiny_model, samples):
    before = {name: tensor.clone() for name, tensor in tiny_model.state_dict().items()}
    names = backbones.target_names(tiny_model)
    next(gradients.traces(tiny_model, *samples, names))
    assert not any(module._forward_hooks for module in tiny_model.modules())
    assert all(p.requires_grad and p.grad is None for p in tiny_model.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in tiny_model.state_dict().items())
    with pytest.raises(ArchitectureError, match="not weights of linear layers"):
        next(gradients.traces(tiny_model, *samples, ["patch_embed.proj.weight"]))


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


def test_the_gradient_of_the_right_labels_probability_is_that_of_autograd(tiny_model, samples):
    names = backbones.target_names(tiny_model)
    x, y = (torch.as_tensor(part) for part in samples)
    found = gradients.mean_gradient(tiny_model, x, y, names, 7, losses.SIGNALS["probability"])
    right = tiny_model(x).softmax(1)[torch.arange(len(y)), y]
    expected = torch.autograd.grad(-right.mean(), [tiny_model.get_parameter(name) for name in names])
    torch.testing.assert_close(found, torch.cat([each.flatten() for each in expected]), rtol=1e-4, atol=1e-8)


def test_doubt_of_sequences_is_the_mean_over_their_positions():
    logits = torch.tensor([[[0.0, 0.0], [9.0, 9.0]], [[0.0, 40.0], [40.0, 0.0]]])
    labels = torch.tensor([[0, 1], [1, 1]])
    torch.testing.assert_close(losses.doubt(logits, labels), torch.tensor([-0.5, -0.5]))
    assert torch.equal(losses.doubt(logits[:, 0], labels[:, 0]), torch.tensor([-0.5, -1.0]))
