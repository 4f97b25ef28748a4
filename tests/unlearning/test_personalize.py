import numpy as np
import pytest
import torch

from tests.unlearning.conftest import TINY
from unlearning import backbones, datasets, evaluate, personalize
from unlearning.errors import ArchitectureError, DatasetError


def trained(seed):
    torch.manual_seed(seed)
    model = backbones.build(TINY)
    train = datasets.load("digits").train
    seen = []
    losses = personalize.train(
        model, train.x[:96], train.y[:96], 3, 2e-3, seed, lambda done, text: seen.append((done, text))
    )
    return model, losses, seen


def test_training_repeats_exactly_lowers_the_loss_and_reports():
    (one, losses, seen), (two, again, _), (other, _, _) = trained(1), trained(1), trained(2)
    assert losses == again
    assert losses[-1] < losses[0]
    assert [done for done, _ in seen] == pytest.approx([1 / 3, 2 / 3, 1])
    assert "epoch 3 of 3" in seen[-1][1]
    assert not one.training
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(one.head.weight, other.head.weight)


def test_settings_without_sense_are_refused(tiny_model, samples):
    for epochs, lr in ((0, 1e-3), (1, 0.0), (1, -1.0)):
        with pytest.raises(DatasetError, match="at least 1"):
            personalize.train(tiny_model, *samples, epochs, lr, 0)
    with pytest.raises(DatasetError, match="0 images"):
        personalize.train(tiny_model, samples.x[:0], samples.y[:0], 1, 1e-3, 0)


def test_divergence_is_reported(tiny_model, samples):
    with torch.no_grad():
        tiny_model.head.weight.fill_(float("nan"))
    with pytest.raises(DatasetError, match="lower the learning rate"):
        personalize.train(tiny_model, *samples, 1, 1e-3, 0)


def test_accuracy_counts_right_answers_in_every_batching():
    model = torch.nn.Flatten()
    x = np.eye(4, dtype=np.float32).reshape(4, 1, 2, 2)
    assert evaluate.accuracy(model, x, np.array([0, 1, 3, 3]), batch=3) == 0.75
    assert model.training  # left as it was found
    with pytest.raises(DatasetError, match="0 images"):
        evaluate.accuracy(model, x[:0], np.array([], dtype=np.int64))


def test_pinned_weights_stay_exactly_zero_and_the_others_learn(tiny_model, samples):
    names = backbones.target_names(tiny_model)
    pins = {name: torch.rand(128, 32, generator=torch.Generator().manual_seed(1)) < 0.3 for name in names}
    with torch.no_grad():
        for name, pin in pins.items():
            tiny_model.get_parameter(name).masked_fill_(pin, 0)
    before = {name: tiny_model.get_parameter(name).detach().clone() for name in names}
    personalize.train(tiny_model, *samples, 3, 1e-2, 0, pinned=pins)
    for name, pin in pins.items():
        after = tiny_model.get_parameter(name).detach()
        assert not after[pin].any()
        assert (after[~pin] != before[name][~pin]).all()


def test_pins_that_do_not_fit_are_refused(tiny_model, samples):
    name = backbones.target_names(tiny_model)[0]
    every = torch.ones(128, 32, dtype=torch.bool)
    for pins, message in (
        ({"wings": every}, "no such weight"),
        ({name: every[:5]}, "expected bool"),
        ({name: every.float()}, "expected bool"),
        ({name: every}, "is not zero"),
    ):
        with pytest.raises(ArchitectureError, match=message):
            personalize.train(tiny_model, *samples, 1, 1e-3, 0, pinned=pins)
