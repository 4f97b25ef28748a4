import hashlib
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
    losses,
    maskfile,
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
        ({"forget": {}}, MaskError, "exactly one of class"),
        ({"forget": {"class": 10}}, DatasetError, "class 10 has 0"),
        ({"forget": {"class": 8, "samples": [1]}}, MaskError, "exactly one of class"),
        ({"forget": {"classes": []}}, MaskError, "forget.classes"),
        ({"forget": {"classes": [3, 3]}}, MaskError, "named twice"),
        ({"forget": {"classes": list(range(10))}}, DatasetError, "the forget set is all"),
        ({"forget": {"samples": []}}, MaskError, "forget.samples"),
        ({"forget": {"samples": [5, 10_000]}}, DatasetError, "no sample 10000"),
        ({"forget": {"samples": [-1]}}, MaskError, "forget.samples"),
        ({"forget": {"random": {"count": 0, "seed": 1}}}, MaskError, "forget.random.count"),
        ({"forget": {"random": {"count": 1442, "seed": 1}}}, DatasetError, "got 1442 random samples"),
        ({"granularity": "row", "density": 1.2}, MaskError, "density"),
        ({"density": 0.5}, MaskError, "leave it out"),
        ({"granularity": "column"}, MaskError, "granularity"),
        ({"directions": {"count": 2}}, MaskError, "kind top"),
        ({"directions": {"softness": 0}}, MaskError, "directions.softness"),
        ({"directions": {"cleaning": 0}}, MaskError, "directions.cleaning"),
        ({"directions": {"kind": "top", "contrast": 0.5}}, MaskError, "are for the mean"),
        ({"noise": {"secret": "abc"}}, MaskError, "noise.secret: got a secret"),
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
    monkeypatch.setattr(gradients, "_FLOATS_PER_SLICE", 40 * 32 * 10)  # ten neurons at a time
    monkeypatch.setattr(gradients, "_IN_MEMORY", 100)  # so that files are used
    in_slices = recipe.curvature(*arguments, 64, 4, 31, 480, 0)
    assert int((in_slices.int() - got.int()).abs().max()) <= 1
    monkeypatch.setattr(gradients, "_EXACT_SPOOL", 0)
    in_bfloat16 = recipe.curvature(*arguments, 64, 4, 31, 480, 0).float()
    products = [(f.transpose(1, 2) @ f) for f in (got.float(), in_bfloat16)]  # what is used of factors
    assert float((products[0] - products[1]).norm() / products[0].norm()) < 0.02


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
    gone = masks.as_bool(mask.indices, mask.total)
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


@pytest.mark.parametrize(
    ("forget", "want"),
    [
        ({"class": 8}, lambda y: np.flatnonzero(y == 8)),
        ({"classes": [1, 8]}, lambda y: np.flatnonzero((y == 8) | (y == 1))),
        ({"samples": [7, 3]}, lambda y: np.array([3, 7])),
        ({"random": {"count": 9, "seed": 2}}, lambda y: np.sort(np.random.default_rng(2).permutation(len(y))[:9])),
    ],
)
def test_forget_sets(forget, want):
    train = datasets.load("digits").train
    chosen = recipe.MaskConfig.parse(CONFIG | {"forget": forget}).forget.chosen("digits", train)
    assert np.flatnonzero(chosen).tolist() == want(train.y).tolist()
    assert recipe.MaskConfig.parse(CONFIG | {"forget": forget}).record()["forget"] == forget | (
        {"samples": (7, 3)} if "samples" in forget else {"classes": (1, 8)} if "classes" in forget else {}
    )


def test_a_language_is_a_class():
    train = datasets.Part(np.zeros((4, 128), np.int64), np.zeros((4, 128), np.int64))
    options = recipe.MaskConfig.parse(CONFIG | {"forget": {"samples": [1]}})
    assert options.forget.chosen("code", train).tolist() == [False, True, False, False]


def test_rows_touch_fewer_chunks_at_the_same_budget(tiny):
    weights = tiny / "global.safetensors"
    plain = recipe.compute_mask(TINY, weights, CONFIG | {"chunkWeights": 256})
    rows = recipe.compute_mask(TINY, weights, CONFIG | {"chunkWeights": 256, "granularity": "row"})
    assert rows.recipe["density"] == 0.25
    assert len(rows.indices) == len(plain.indices)
    touched = [len(maskfile.read_mask(made.file).touched) for made in (plain, rows)]
    assert touched[1] < touched[0]
    assert maskfile.parse_mask(rows.file)[1].tolist() == rows.indices.tolist()
    with pytest.raises(MaskError, match="whole blocks of 8"):
        recipe.compute_mask(TINY, weights, CONFIG | {"blockSize": 8, "granularity": "row", "density": 1.0})


def test_both_layers_can_be_targets(tiny):
    made = recipe.compute_mask(TINY, tiny / "global.safetensors", CONFIG | {"targets": "fc1+fc2"})
    assert made.total == 16384
    assert [name.split(".")[3] for name in made.recipe["targetNames"]] == ["fc1", "fc2"] * 2


@pytest.mark.parametrize("wanted", [{"push": 0.2}, {"kind": "top", "count": 3, "at": "original", "limit": 7}])
def test_forget_directions_are_gradients_of_the_forget_set_where_something_is_masked(tiny, tiny_model, wanted):
    config = CONFIG | {"directions": wanted, "budget": 0.01, "blockSize": 32}
    made = recipe.compute_mask(TINY, tiny / "global.safetensors", config)
    again = recipe.compute_mask(TINY, tiny / "global.safetensors", config)
    assert made.directions_file == again.directions_file
    assert made.recipe["directionsSha256"] == hashlib.sha256(made.directions_file).hexdigest()
    gone = masks.as_bool(made.indices, made.total)
    blocks, rows = gone.view(-1, 32), made.directions.rows.double()
    assert rows.shape == (256, wanted.get("count", 1), 32)
    assert int(rows.abs().max()) == wanted.get("limit", 15)
    assert not rows[~blocks.any(1)].any()
    assert (made.directions.push > 0).any() == ("push" in wanted)
    state = tiny_model.state_dict()
    theta = backbones.flatten_targets(state, TARGETS)
    if "at" not in wanted:
        theta = theta.masked_fill(gone, 0)
    forget, _ = recipe._forget_and_retain(recipe.MaskConfig.parse(config))
    model = backbones.with_weights(TINY, backbones.unflatten(state, TARGETS, theta))
    mean = gradients.mean_gradient(model, *forget, TARGETS).view(-1, 1, 32).double() * ~blocks.unsqueeze(1)
    cosine = torch.nn.functional.cosine_similarity(rows, mean, dim=2)[blocks.any(1)]
    assert (cosine >= -0.05).all()
    if wanted.get("kind") != "top":
        assert float(cosine.min()) > 0.95


def test_cleaned_directions_leave_out_what_retained_data_needs(tiny, tiny_model):
    """Against directions that are only gradients, a step of the same forgetting costs the retained loss less."""
    config = CONFIG | {"budget": 0.01, "blockSize": 32}
    wanted = {"push": 0.4, "proportional": True}
    plain, cleaned = (
        recipe.compute_mask(TINY, tiny / "global.safetensors", config | {"directions": wanted | more})
        for more in ({}, {"cleaning": 0.3})
    )
    assert cleaned.recipe["directions"]["cleaning"] == 0.3
    assert cleaned.recipe["retainedSamples"] > 0
    assert plain.recipe["maskSha256"] == cleaned.recipe["maskSha256"]
    assert (cleaned.directions.push > 0).sum() > 0
    parsed = recipe.MaskConfig.parse(config)
    forget, retain = recipe._forget_and_retain(parsed)
    gone = masks.as_bool(plain.indices, plain.total)
    state = tiny_model.state_dict()
    masked = backbones.flatten_targets(state, TARGETS).masked_fill(gone, 0)
    model = backbones.with_weights(TINY, backbones.unflatten(state, TARGETS, masked))
    forgets = gradients.mean_gradient(model, *forget, TARGETS).view(-1, 32).double()
    factors = recipe._factors(tiny_model, retain, TARGETS, 32, lambda *_: None).double()
    costs = []
    for made in (plain, cleaned):
        rows = made.directions.rows.double().squeeze(1)
        step = rows / (rows * forgets).sum(1, keepdim=True).clamp(min=1e-30)  # forgets as much, to first order
        costs.append((factors @ step.unsqueeze(2)).square().sum((1, 2))[gone.view(-1, 32).any(1)])
    assert float((costs[1] < costs[0]).double().mean()) > 0.9


def test_directions_that_set_the_forget_set_apart_say_so_and_cost_the_rest_less(tiny, tiny_model):
    config = CONFIG | {"budget": 0.01, "blockSize": 32}
    made, plain = (
        recipe.compute_mask(
            TINY, tiny / "global.safetensors", config | {"directions": {"signal": "probability"} | more}
        )
        for more in ({"contrast": 1.0}, {})
    )
    assert made.recipe["directions"]["contrast"] == 1
    assert made.recipe["retainedSamples"] > 0 == plain.recipe["retainedSamples"]
    _, retain = recipe._forget_and_retain(recipe.MaskConfig.parse(config))
    gone = masks.as_bool(made.indices, made.total)
    masked = backbones.flatten_targets(tiny_model.state_dict(), TARGETS).masked_fill(gone, 0)
    model = backbones.with_weights(TINY, backbones.unflatten(tiny_model.state_dict(), TARGETS, masked))
    needed = gradients.mean_gradient(model, *retain, TARGETS, signal=losses.SIGNALS["probability"]).view(-1, 1, 32)
    along = [float((each.directions.rows.float() * needed).sum()) for each in (made, plain)]
    assert along[0] < along[1]


def test_noise_changes_what_is_published_and_the_recipe_keeps_its_secret(tiny):
    weights, secret = tiny / "global.safetensors", "5a" * 32
    config = CONFIG | {"directions": {}, "noise": {"scores": 0.5, "directions": 0.5, "secret": secret}}
    plain = recipe.compute_mask(TINY, weights, CONFIG | {"directions": {}})
    noisy = recipe.compute_mask(TINY, weights, config)
    assert noisy.file == recipe.compute_mask(TINY, weights, config).file
    assert noisy.file != plain.file
    assert secret not in json.dumps(noisy.recipe)
    assert noisy.recipe["noise"]["secretSha256"] == hashlib.sha256(bytes.fromhex(secret)).hexdigest()
    other = recipe.compute_mask(TINY, weights, CONFIG | {"noise": config["noise"] | {"secret": "6b" * 32}})
    assert other.file != noisy.file


def test_a_recipes_digest_is_of_its_canonical_json_and_covers_the_mask(tiny):
    made = recipe.compute_mask(TINY, tiny / "global.safetensors", CONFIG)
    assert (
        recipe.recipe_digest({"b": [1, 0.5], "a": "é"})
        == hashlib.sha256('{"a":"é","b":[1,0.5]}'.encode()).hexdigest()
    )
    stored = json.loads(json.dumps(made.recipe, indent=3))
    assert recipe.recipe_digest(stored) == recipe.recipe_digest(made.recipe)
    assert made.recipe["maskSha256"] == hashlib.sha256(made.file).hexdigest()
    assert recipe.recipe_digest(stored | {"seed": 2}) != recipe.recipe_digest(made.recipe)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused_by_name_before_any_gradient(tiny, tmp_path, monkeypatch, bad):
    state = backbones.load(tiny / "global.safetensors")
    state["blocks.1.mlp.fc2.bias"][3] = bad
    backbones.save(tmp_path / "bad", state)
    monkeypatch.setattr(gradients, "traces", None)  # must not be reached
    with pytest.raises(ArchitectureError, match=r"blocks.1.mlp.fc2.bias holds NaN or infinity"):
        recipe.compute_mask(TINY, tmp_path / "bad", CONFIG)
    with pytest.raises(ArchitectureError, match=r"blocks.1.mlp.fc2.bias holds NaN or infinity"):
        recipe.curvature(TINY, tmp_path / "bad", tiny / "data.npz", TARGETS)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"budget": 0.00001}, MaskError, "masks none"),
        ({"granularity": "row", "density": 0.01}, MaskError, "raise the density"),
        ({"granularity": "row", "density": 1.0, "blockSize": 16}, MaskError, "whole blocks of 16"),
        ({"forget": {"samples": [4, 5]}, "directions": {"kind": "top", "count": 3}}, MaskError, "from 2 samples"),
        ({"directions": {}, "blockSize": 96}, CurvatureError, "multiple of the block size 96"),
        ({"targets": "wings.*"}, ArchitectureError, "wings"),
        ({"targets": "patch_embed.proj.weight"}, ArchitectureError, "not weights of linear layers"),
    ],
)
def test_what_no_scores_could_make_good_is_refused_before_any_gradient(tiny, monkeypatch, change, error, message):
    if "linear" not in message:
        monkeypatch.setattr(gradients, "traces", None)  # must not be reached
    with pytest.raises(error, match=message):
        recipe.compute_mask(TINY, tiny / "global.safetensors", CONFIG | change)
