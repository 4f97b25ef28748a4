import json

import numpy as np
import pytest
import torch

from tests.unlearning.conftest import TINY, TINY_OPT
from unlearning import (
    adapters,
    backbones,
    corpora,
    datasets,
    evaluate,
    fetch,
    fisher,
    gradients,
    lattice,
    masks,
    recipe,
)
from unlearning.errors import ArchitectureError, CurvatureError, DatasetError, MaskError

CONFIG = {
    "dataset": "digits",
    "forget": {"class": 8},
    "budget": 0.04,
    "score": "saliency",
    "samples": 20,
    "seed": 1,
}
TARGETS = ["blocks.0.mlp.fc1.weight", "blocks.1.mlp.fc1.weight"]


@pytest.mark.parametrize("score", ["saliency", "ratio"])
def test_mask_is_found_again_from_its_own_recipe(tiny, score):
    seen = []
    weights = tiny / "global.safetensors"
    first = recipe.compute_mask(
        TINY, weights, CONFIG | {"score": score}, lambda done, text: seen.append((done, text))
    )
    assert first.total == 8192
    assert len(first.indices) == 328
    assert (np.diff(first.indices) > 0).all()
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (1.0, "328 of 8192 weights masked")
    record = json.loads(json.dumps(first.recipe))
    assert record["targetNames"] == TARGETS
    assert record["forgetSamples"] == 20
    assert record["software"]["torch"] == torch.__version__
    again = recipe.compute_mask(TINY, weights, {key: record[key] for key in ("blockSize", "targets", *CONFIG)})
    assert np.array_equal(again.indices, first.indices)
    assert again.recipe == first.recipe


def test_mask_is_the_saliency_of_the_forget_set(tiny, tiny_model):
    got = recipe.compute_mask(TINY, tiny / "global.safetensors", CONFIG | {"samples": 10_000})
    train = datasets.load("digits").train
    forget = train.y == 8
    rows = torch.cat(list(gradients.per_sample(tiny_model, train.x[forget], train.y[forget], TARGETS)))
    theta = backbones.flatten_targets(tiny_model.state_dict(), TARGETS)
    scores = masks.saliency(theta, rows.mean(dim=0), rows.square().mean(dim=0))
    assert len(set(got.indices) ^ set(masks.select(scores, 0.04))) <= 2  # float sums in another order
    assert got.recipe["forgetSamples"] == forget.sum()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"budget": 0.5}, MaskError, "budget"),
        ({"budget": 0.0}, MaskError, "budget"),
        ({"budget": "0.04"}, MaskError, "budget"),
        ({"budget": float("nan")}, MaskError, "budget"),
        ({"samples": 0}, MaskError, "samples"),
        ({"score": "magic"}, MaskError, "score"),
        ({"forget": {}}, MaskError, "forget.class"),
        ({"forget": {"class": 10}}, DatasetError, "class 10 has 0"),
        ({"dataset": "imagenet"}, DatasetError, "imagenet"),
        ({"surprise": 1}, MaskError, "surprise"),
    ],
)
def test_bad_configurations_are_refused_before_any_weight_is_read(tmp_path, change, error, message):
    with pytest.raises(error, match=message):
        recipe.compute_mask(TINY, tmp_path / "absent", CONFIG | change)


def test_curvature_is_the_quantised_fisher_pass_by_pass(tiny, tiny_model, monkeypatch):
    arguments = (TINY, tiny / "global.safetensors", tiny / "data.npz", TARGETS)
    seen = []
    got = recipe.curvature(*arguments, 64, 4, 31, 480, 0, lambda done, _: seen.append(done))
    assert got.dtype == torch.int8
    assert got.shape == (128, 4, 64)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    data = datasets.load_npz(tiny / "data.npz")
    floats = fisher.block_factors(gradients.per_sample(tiny_model, *data, TARGETS), 64, 4)
    assert int((lattice.quantise_factors(floats, 31) - got).abs().max()) <= 1
    monkeypatch.setattr(recipe, "_WEIGHTS_PER_PASS", 4096)
    in_two_passes = recipe.curvature(*arguments, 64, 4, 31, 480, 0)
    assert int((in_two_passes.int() - got.int()).abs().max()) <= 1


def test_curvature_depends_on_the_seed_only_through_the_sample(tiny):
    arguments = (TINY, tiny / "global.safetensors", tiny / "data.npz", TARGETS, 64, 4, 31)
    assert torch.equal(recipe.curvature(*arguments, 20, 5), recipe.curvature(*arguments, 20, 5))
    assert not torch.equal(recipe.curvature(*arguments, 20, 5), recipe.curvature(*arguments, 20, 6))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"samples": 7}, CurvatureError, "at least the rank 8"),
        ({"rank": 41}, CurvatureError, "got 40 samples"),
        ({"rank": 65}, CurvatureError, "rank 65"),
        ({"factor_limit": 128}, CurvatureError, "factor limit 128"),
        ({"factor_limit": 0}, CurvatureError, "factor limit 0"),
        ({"block_size": 96, "targets": TARGETS}, CurvatureError, "multiple of the block size 96"),
        ({"targets": []}, CurvatureError, "no target"),
        ({"targets": ["wings"]}, ArchitectureError, "wings"),
    ],
)
def test_bad_curvature_settings_are_refused(tiny, change, error, message):
    settings = {"targets": TARGETS} | change
    with pytest.raises(error, match=message):
        recipe.curvature(TINY, tiny / "global.safetensors", tiny / "data.npz", **settings)


def test_the_whole_chain_masks_compensates_and_stays_on_the_grid(tiny, tiny_model):
    state = tiny_model.state_dict()
    mask = recipe.compute_mask(TINY, tiny / "global.safetensors", CONFIG)
    factors = recipe.curvature(TINY, tiny / "global.safetensors", tiny / "data.npz", TARGETS)
    gone = torch.zeros(mask.total, dtype=torch.bool)
    gone[torch.from_numpy(mask.indices)] = True
    w = lattice.to_grid(backbones.flatten_targets(state, TARGETS), 22)
    solution = lattice.solve(w.view(-1, 64), factors, gone.view(-1, 64), 1024)
    flat = lattice.from_grid(solution.w_new, 22).view(-1)
    assert not flat[gone].any()
    assert torch.equal(lattice.to_grid(flat, 22), solution.w_new.view(-1))
    model = backbones.with_weights(TINY, backbones.unflatten(state, TARGETS, flat))
    assert 0 <= evaluate.accuracy(model, *datasets.load("digits").test) <= 1
    assert int(solution.e.abs().max()) < 16366


def test_a_language_models_mask_and_curvature(tmp_path, monkeypatch):
    monkeypatch.setenv(fetch.FOLDER_VARIABLE, str(tmp_path))
    monkeypatch.setattr(corpora.sysconfig, "get_path", lambda _: str(tmp_path / "code-python"))
    draw = np.random.default_rng(0)
    for name, suffix in corpora.LANGUAGES.items():
        (tmp_path / name).mkdir()
        for number in range(5):
            (tmp_path / name / f"{number}{suffix}").write_bytes(draw.bytes(300))
    torch.manual_seed(0)
    backbones.save(tmp_path / "weights", backbones.build(TINY_OPT).state_dict())
    config = CONFIG | {"dataset": "code", "forget": {"class": 1}, "blockSize": 32}
    mask = recipe.compute_mask(TINY_OPT, tmp_path / "weights", config)
    assert mask.recipe["forgetSamples"] == 8  # those of Go
    names = ["model.decoder.layers.0.fc1.weight", "model.decoder.layers.1.fc1.weight"]
    assert mask.recipe["targetNames"] == names
    assert len(mask.indices) == round(0.04 * 2 * 64 * 32)
    with pytest.raises(DatasetError, match="class 4 has 0 of 32"):
        recipe.compute_mask(TINY_OPT, tmp_path / "weights", config | {"forget": {"class": 4}})
    datasets.save_npz(tmp_path / "data.npz", datasets.load("code-rust").train)
    factors = recipe.curvature(TINY_OPT, tmp_path / "weights", tmp_path / "data.npz", names, 32, 4)
    assert factors.shape == (128, 4, 32)
    assert factors.any(dim=2).all()


def test_curvature_of_a_model_with_adapters_needs_only_its_file(tmp_path, tiny, tiny_model):
    adapters.attach(tiny_model, 3)
    backbones.save(tmp_path / "adapted", tiny_model.state_dict())
    arguments = (tiny / "data.npz", TARGETS, 64, 4)
    adapted = recipe.curvature(TINY, tmp_path / "adapted", *arguments)
    assert torch.equal(adapted, recipe.curvature(TINY, tiny / "global.safetensors", *arguments))  # still as nothing
