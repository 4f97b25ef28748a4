import pytest
import torch

from tests.unlearning.conftest import TINY
from unlearning import backbones, baselines, datasets, evaluate, personalize
from unlearning.errors import DatasetError
from unlearning.personalize import Training

QUICK = Training(epochs=4, lr=3e-3, batch=16)
LONG = QUICK._replace(epochs=8)
FORGOTTEN = 8


@pytest.fixture(scope="module")
def digits():
    """(forget, retain) of some training samples: class 8 and the others."""
    part = datasets.load("digits").train.first(480)
    return part.at(part.y == FORGOTTEN), part.at(part.y != FORGOTTEN)


@pytest.fixture(scope="module")
def learned(digits):
    """Weights of a model that knows every class."""
    return personalize.trained(TINY, datasets.together(digits), LONG, 0).state_dict()


@pytest.fixture
def model(learned):
    return backbones.with_weights(TINY, learned)


def test_exact_retraining_never_saw_the_class_and_repeats(digits):
    torch.manual_seed(5)  # must not matter
    seen = []
    one = personalize.trained(TINY, digits[1], LONG, 0, lambda done, text: seen.append(done))
    two = personalize.trained(TINY, digits[1], LONG, 0)
    assert evaluate.accuracy(one, *digits[0]) == 0
    assert evaluate.accuracy(one, *digits[1]) > 0.5
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert seen == [epoch / 8 for epoch in range(1, 9)]


def test_retraining_continues_where_it_was_interrupted(digits, tmp_path):
    kept = tmp_path / "run.pt"

    def stop(done, _):
        if done >= 0.75:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        personalize.trained(TINY, digits[1], QUICK, 0, stop, checkpoint=kept)
    seen = []
    resumed = personalize.trained(TINY, digits[1], QUICK, 0, lambda done, text: seen.append(done), checkpoint=kept)
    assert len(seen) == 1  # one epoch was left
    whole = personalize.trained(TINY, digits[1], QUICK, 0)
    assert all(torch.equal(a, b) for a, b in zip(resumed.parameters(), whole.parameters(), strict=True))
    for data, seed in ((digits[0], 0), (digits[1], 1)):
        with pytest.raises(DatasetError, match="other settings"):
            personalize.trained(TINY, data, QUICK, seed, checkpoint=kept)
    kept.write_bytes(b"half a file")
    with pytest.raises(DatasetError, match="delete it to start anew"):
        personalize.trained(TINY, digits[1], QUICK, 0, checkpoint=kept)


def test_gradient_ascent_raises_the_loss_of_the_forget_set(model, digits):
    before = evaluate.score(model, *digits[0]).losses.mean()
    baselines.gradient_ascent(model, digits[0], Training(1, 1e-3, batch=8), 0)
    assert evaluate.score(model, *digits[0]).losses.mean() > before
    assert not model.training
    with pytest.raises(DatasetError, match="0 images"):
        baselines.gradient_ascent(model, digits[0].first(0), QUICK, 0)


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
