"""What an order costs a model, on samples of the client's own."""

import numpy as np
import pytest
import torch

from prover_worker import damage
from prover_worker.agent_state import Folder
from prover_worker.damage import Damage, forgotten_classes
from tests.unlearning.conftest import TINY, TINY_OPT
from unlearning import backbones, datasets
from unlearning.errors import DatasetError


def images(count, seed=0):
    rng = np.random.default_rng(seed)
    model = backbones.build(TINY)
    size, channels = model.patch_embed.img_size, TINY.get("in_chans", 3)
    x = rng.random((count, channels, *size), dtype=np.float32)
    return datasets.Part(x, rng.integers(0, TINY["num_classes"], count))


def answers(state, x):
    """The classes that a model gives."""
    with torch.no_grad():
        return backbones.with_weights(TINY, state)(torch.from_numpy(x)).argmax(dim=1).numpy()


@pytest.fixture
def state():
    torch.manual_seed(0)
    return backbones.build(TINY).state_dict()


def spoiled(state):
    """The same model with its classifier turned around."""
    return {name: -tensor if name.startswith("head") else tensor for name, tensor in state.items()}


def kept(tmp_path, part):
    datasets.save_npz(tmp_path / "kept.npz", part)
    return tmp_path / "kept.npz"


def test_a_model_that_lost_everything(state, tmp_path):
    x = images(40).x
    part = datasets.Part(x, answers(state, x))  # before, every answer is right
    found = damage.measure(TINY, state, spoiled(state), kept(tmp_path, part), [])
    assert (found.before, found.samples, found.left_out) == (100, 40, [])
    assert found.drop == 100 - found.after > 50
    assert f"100.0 % before, {found.after:.1f} % after" in found.sentence()


def test_what_is_to_be_forgotten_does_not_count(state, tmp_path):
    """A model that is right on 40 samples, and on 20 of the class to forget neither before nor after."""
    x = images(60).x
    labels = answers(state, x)
    lost = (int(labels[0]) + 1) % TINY["num_classes"]
    labels[40:] = lost
    part = datasets.Part(x, labels)
    full = damage.measure(TINY, state, state, kept(tmp_path, part), [])
    less = damage.measure(TINY, state, state, kept(tmp_path, part), [lost])
    assert full.before == pytest.approx(100 * 40 / 60)
    assert (less.before, less.samples, less.left_out) == (100, 40, [lost])
    assert f"class {lost} left out" in less.sentence()


def test_a_client_with_nothing_else_is_measured_on_that(state, tmp_path):
    part = datasets.Part(images(5).x, np.full(5, 2))
    found = damage.measure(TINY, state, state, kept(tmp_path, part), [2])
    assert (found.samples, found.left_out, found.drop) == (5, [], 0)


def test_a_language_model_has_a_perplexity(tmp_path):
    torch.manual_seed(0)
    before = backbones.build(TINY_OPT).state_dict()
    after = {name: tensor * 1.5 for name, tensor in before.items()}
    tokens = np.random.default_rng(0).integers(0, 20, (6, 9))
    part = datasets.Part(tokens[:, :-1].copy(), tokens[:, 1:].copy())
    found = damage.measure(TINY_OPT, before, after, kept(tmp_path, part), [3])
    assert (found.samples, found.left_out) == (6, [])
    assert found.perplexity_before > 1
    assert found.perplexity_after != found.perplexity_before
    assert f"perplexity {found.perplexity_before:.2f} before" in found.sentence()


def test_no_more_samples_are_kept_than_measuring_needs(tmp_path, monkeypatch):
    monkeypatch.setattr(damage, "_MOST_SAMPLES", 7)
    part = images(30)
    datasets.save_npz(tmp_path / "data.npz", part)
    damage.keep_samples(Folder(tmp_path / "state"), tmp_path / "data.npz")
    mine = datasets.load_npz(tmp_path / "state" / damage.KEPT)
    assert len(mine.y) == 7
    assert all((sample == part.x).all(axis=(1, 2, 3)).any() for sample in mine.x)
    with pytest.raises(DatasetError):
        damage.keep_samples(Folder(tmp_path / "state"), tmp_path / "no.npz")


@pytest.mark.parametrize(
    ("forget", "classes"),
    [
        ({"class": 8}, [8]), ({"classes": [5, 2, 5]}, [2, 5]), ({"samples": [1, 2]}, []),
        ({"references": ["ab"]}, []),
        ({"class": True}, []), ({"class": "8"}, []), ({"classes": "8"}, []), ({"classes": ["8", 3]}, [3]),
        (None, []), ("class", []),
    ],
)  # fmt: skip
def test_classes_in_a_recipe(forget, classes):
    assert forgotten_classes({"forget": forget}) == classes
    assert forgotten_classes({}) == []


def test_the_record_has_all_figures():
    found = Damage(90.0, 84.5, 100, [8])
    assert found.record() == {
        "before": 90.0, "after": 84.5, "samples": 100, "left_out": [8], "drop": 5.5,
        "perplexity_before": None, "perplexity_after": None,
    }  # fmt: skip
    assert "perplexity" not in found.sentence()
