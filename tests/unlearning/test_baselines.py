import numpy as np
import pytest
import torch

from tests.unlearning.conftest import TINY
from unlearning import backbones, baselines, datasets, evaluate
from unlearning.errors import ArchitectureError, DatasetError, MaskError
from unlearning.personalize import Personalisation, Training, fit

QUICK = Training(epochs=4, lr=3e-3, batch=16)
FORGOTTEN = 8


@pytest.fixture(scope="module")
def digits():
    """(forget, retain) of some training samples: class 8 and the others."""
    x, y = (array[:480] for array in datasets.load("digits").train)
    return tuple(datasets.Part(x[keep], y[keep]) for keep in (y == FORGOTTEN, y != FORGOTTEN))


@pytest.fixture(scope="module")
def learned(digits):
    """Weights of a model that knows every class."""
    torch.manual_seed(0)
    model = backbones.build(TINY)
    fit(model, datasets.Part(*map(np.concatenate, zip(*digits, strict=True))), QUICK._replace(epochs=8), 0)
    return model.state_dict()


@pytest.fixture
def model(learned):
    return backbones.with_weights(TINY, learned)


def retrained(digits, **how):
    return baselines.retrain(TINY, digits[1], digits[1], QUICK, Personalisation(QUICK), 0, **how)


def test_exact_retraining_never_saw_the_class_and_repeats(digits):
    torch.manual_seed(5)  # must not matter
    seen = []
    one = retrained(digits, progress=lambda done, text: seen.append(done))
    two = retrained(digits)
    assert evaluate.accuracy(one, *digits[0]) == 0
    assert evaluate.accuracy(one, *digits[1]) > 0.5
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert seen == sorted(seen)
    assert seen[-1] == 1


def test_retraining_continues_where_it_was_interrupted(digits, tmp_path):
    def stop_at(limit):
        def report(done, _):
            if done >= limit:
                raise KeyboardInterrupt

        return report

    for limit in (0.3, 0.9):  # in the global training, then in the personal one
        with pytest.raises(KeyboardInterrupt):
            retrained(digits, progress=stop_at(limit), folder=tmp_path)
    seen = []
    resumed = retrained(digits, progress=lambda done, text: seen.append(done), folder=tmp_path)
    assert len(seen) == 1  # one epoch was left
    whole = retrained(digits)
    assert all(torch.equal(a, b) for a, b in zip(resumed.parameters(), whole.parameters(), strict=True))
    with pytest.raises(DatasetError, match="other settings"):
        retrained((digits[1], digits[0]), folder=tmp_path)
    (tmp_path / "global.pt").write_bytes(b"half a file")
    with pytest.raises(DatasetError, match="delete it to start anew"):
        retrained(digits, folder=tmp_path)


def test_gradient_ascent_raises_the_loss_of_the_forget_set(model, digits):
    before = evaluate.score(model, *digits[0]).losses.mean()
    baselines.gradient_ascent(model, digits[0], Training(1, 1e-3, batch=8), 0)
    assert evaluate.score(model, *digits[0]).losses.mean() > before
    assert not model.training
    with pytest.raises(DatasetError, match="0 images"):
        baselines.gradient_ascent(model, datasets.Part(digits[0].x[:0], digits[0].y[:0]), QUICK, 0)


def test_scrub_forgets_what_it_should_and_keeps_the_rest(model, digits):
    before = [evaluate.accuracy(model, *part) for part in digits]
    how = baselines.Scrub(epochs=4, max_epochs=3, lr=1e-3, max_batch=16)
    baselines.scrub(model, *digits, how, 0)
    after = [evaluate.accuracy(model, *part) for part in digits]
    assert after[0] < before[0] - 0.5
    assert after[1] > before[1] - 0.05


@pytest.mark.parametrize(
    "change", [{"epochs": 0}, {"lr": 0.0}, {"max_batch": 0}, {"max_epochs": 9}, {"temperature": 0.0}]
)
def test_scrub_settings_without_sense_are_refused(tiny_model, digits, change):
    with pytest.raises(DatasetError, match="expected"):
        baselines.scrub(tiny_model, *digits, baselines.Scrub()._replace(**change), 0)


def test_mask_only_zeroes_just_the_mask(tiny_model):
    names = backbones.target_names(tiny_model)
    masked = baselines.mask_only(TINY, tiny_model, names, np.array([0, 4097]))
    expected = {name: tensor.clone() for name, tensor in tiny_model.state_dict().items()}
    expected[names[0]][0, 0] = expected[names[1]][0, 1] = 0
    assert all(torch.equal(tensor, expected[name]) for name, tensor in masked.state_dict().items())
    assert tiny_model.state_dict()[names[0]][0, 0] != 0
    for bad in ([8192], [-1], [0.5]):
        with pytest.raises(MaskError, match="integers from 0 to 8191"):
            baselines.mask_only(TINY, tiny_model, names, bad)
    with pytest.raises(ArchitectureError, match="wings"):
        baselines.mask_only(TINY, tiny_model, ["wings"], [0])
