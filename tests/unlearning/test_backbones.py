import math

import numpy as np
import pytest
import torch

from tests.unlearning.conftest import TINY, TINY_OPT
from unlearning import adapters, backbones, gradients, masks
from unlearning.errors import ArchitectureError


def test_targets_come_in_model_order(tiny_model):
    assert backbones.target_names(tiny_model) == [f"blocks.{i}.mlp.fc1.weight" for i in range(2)]
    deep = backbones.build(TINY | {"depth": 11})
    assert backbones.target_names(deep)[2::8] == ["blocks.2.mlp.fc1.weight", "blocks.10.mlp.fc1.weight"]


def test_demo_architecture_has_the_documented_size():
    model = backbones.build(backbones.DIGITS_VIT)
    shapes = [model.get_parameter(name).shape for name in backbones.target_names(model)]
    assert shapes == [(256, 64)] * 4


def test_registry_models_build_without_a_download():
    model = backbones.build({"library": "timm", "model": "vit_tiny_patch16_224", "depth": 1, "num_classes": 3})
    assert model(torch.zeros(1, 3, 224, 224)).shape == (1, 3)


def test_flatten_and_unflatten_are_inverse_and_leave_the_rest(tiny_model):
    state = tiny_model.state_dict()
    names = backbones.target_names(tiny_model)
    flat = backbones.flatten_targets(state, names)
    assert flat.shape == (2 * 32 * 128,)
    assert torch.equal(flat[128 * 32 : 128 * 32 + 32], state[names[1]][0])  # row-major, in order
    changed = backbones.unflatten(state, names, flat + 1)
    assert torch.equal(backbones.flatten_targets(changed, names), flat + 1)
    assert all(changed[name] is state[name] for name in state if name not in names)
    assert torch.equal(backbones.flatten_targets(state, names), flat)


def test_masked_zeroes_just_the_mask(tiny_model):
    state, names = tiny_model.state_dict(), backbones.target_names(tiny_model)
    found = backbones.masked(state, names, masks.as_bool(np.array([0, 4097]), 8192))
    expected = {name: tensor.clone() for name, tensor in state.items()}
    expected[names[0]][0, 0] = expected[names[1]][0, 1] = 0
    assert all(torch.equal(tensor, expected[name]) for name, tensor in found.items())
    assert state[names[0]][0, 0] != 0
    with pytest.raises(ArchitectureError, match=r"\(8191,\) weights, expected \(8192,\)"):
        backbones.masked(state, names, masks.as_bool(np.array([0]), 8191))
    with pytest.raises(ArchitectureError, match="wings"):
        backbones.masked(state, ["wings"], torch.zeros(1, dtype=torch.bool))


def test_save_and_load_round_trip_and_are_canonical(tmp_path, tiny_model):
    state = tiny_model.state_dict()
    backbones.save(tmp_path / "a", state)
    backbones.save(tmp_path / "b", backbones.load(tmp_path / "a"))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert all(torch.equal(tensor, state[name]) for name, tensor in backbones.load(tmp_path / "a").items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"library": "keras"}, 'expected "timm" or "transformers"'),
        ({"library": "transformers"}, "expected one of opt"),
        ({"adapter": {"bottleneck": 0}}, "from 1"),
        ({"adapter": {"bottleneck": 4, "scale": 0}}, "above 0"),
        ({"adapter": {"depth": 4}}, "depth"),
        ({"model": ""}, "expected a timm model name"),
        ({"model": "no_such_model"}, "no_such_model"),
        ({"wings": 2}, "wings"),
        ({"num_heads": 5}, "cannot build"),
    ],
)
def test_bad_architectures_are_refused(change, message):
    with pytest.raises(ArchitectureError, match=message):
        backbones.build(TINY | change)


def test_weights_that_do_not_fit_are_refused(tmp_path, tiny_model):
    state = tiny_model.state_dict()
    with pytest.raises(ArchitectureError, match="do not fit"):
        backbones.with_weights(TINY | {"depth": 3}, state)
    with pytest.raises(ArchitectureError, match="do not fit"):
        backbones.with_weights(TINY, state | {"extra": torch.zeros(1)})
    (tmp_path / "noise").write_bytes(b"not a safetensors file at all")
    for name in ("noise", "absent"):
        with pytest.raises(ArchitectureError, match="expected a safetensors file"):
            backbones.load(tmp_path / name)
    with pytest.raises(ArchitectureError, match="no parameter matches"):
        backbones.target_names(tiny_model, "layers.*")
    with pytest.raises(ArchitectureError, match="wings"):
        backbones.flatten_targets(state, ["wings"])
    with pytest.raises(ArchitectureError, match="expected \\(4096,\\)"):
        backbones.unflatten(state, ["blocks.0.mlp.fc1.weight"], torch.zeros(3))


def test_targets_by_short_name(tiny_model):
    fc2 = backbones.target_names(tiny_model, "fc2")
    assert fc2 == [f"blocks.{i}.mlp.fc2.weight" for i in range(2)]
    both = backbones.target_names(tiny_model, "fc1+fc2")
    assert both == [f"blocks.{i}.mlp.fc{j}.weight" for i in range(2) for j in (1, 2)]


@pytest.mark.parametrize("name", ["deit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "beit_base_patch16_224"])
def test_other_vision_transformers_have_targets(name):
    with torch.device("meta"):  # shapes alone are quick
        model = backbones.build({"library": "timm", "model": name, "num_classes": 2})
    assert len(backbones.target_names(model)) == 12


def test_opt_reads_tokens_and_looks_only_back():
    torch.manual_seed(0)
    model = backbones.build(TINY_OPT)
    assert backbones.target_names(model) == [f"model.decoder.layers.{i}.fc1.weight" for i in range(2)]
    tokens = torch.arange(24).reshape(2, 12)
    logits = model(tokens)
    assert logits.shape == (2, 12, 256)
    changed = tokens.clone()
    changed[:, 7] += 1
    assert torch.allclose(model(changed)[:, :7], logits[:, :7], atol=1e-6)
    assert not torch.allclose(model(changed)[:, 7:], logits[:, 7:], atol=1e-3)
    default = {"library": "transformers", "model": "opt-125m"}
    with torch.device("meta"):
        assert sum(weight.numel() for weight in backbones.build(default).parameters()) == 125_239_296


def test_a_language_models_file_round_trips_and_its_gradients_are_right(tmp_path):
    torch.manual_seed(0)
    state = backbones.build(TINY_OPT).state_dict()
    backbones.save(tmp_path / "opt", state)  # its embedding and its head are one tensor under two names
    model = backbones.with_weights(TINY_OPT, backbones.load(tmp_path / "opt"))
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    tokens = torch.randint(0, 256, (3, 13), generator=torch.Generator().manual_seed(1))
    x, y, names = tokens[:, :-1], tokens[:, 1:], backbones.target_names(model)
    rows = torch.cat(list(gradients.per_sample(model, x, y, names, batch=2)))
    for number in range(3):
        loss = torch.nn.functional.cross_entropy(model(x[number : number + 1])[0], y[number])
        wanted = torch.autograd.grad(loss, [model.get_parameter(name) for name in names])
        assert torch.allclose(rows[number], torch.cat([part.flatten() for part in wanted]), atol=1e-6)
    mean = gradients.mean_gradient(model, x, y, names)
    assert torch.allclose(mean, rows.mean(0), atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "gpt2"}, "expected one of opt, opt-125m"),
        ({"pretrained": True}, "no pretrained weights"),
        ({"wings": 2}, "does not know .'wings'"),
        ({"num_attention_heads": 5}, "cannot build"),
    ],
)
def test_bad_language_models_are_refused(change, message):
    with pytest.raises(ArchitectureError, match=message):
        backbones.build(TINY_OPT | change)


def test_published_weights_that_cannot_be_had_are_reported(tmp_path):
    wanted = {"library": "transformers", "model": "opt-125m", "pretrained": True}
    with pytest.raises(ArchitectureError, match="cannot build 'opt-125m'"):
        backbones.build(wanted | {"local_files_only": True, "cache_dir": str(tmp_path)})


def test_adapters_start_as_nothing_and_leave_the_targets_where_they_are(tiny_model, samples):
    state, images = tiny_model.state_dict(), torch.from_numpy(samples.x)
    before = tiny_model(images)
    adapted = backbones.build(TINY | {"adapter": {"bottleneck": 4, "scale": 0.5}})
    adapted.load_state_dict(state, strict=False)
    assert torch.equal(adapted(images), before)
    assert backbones.target_names(adapted) == backbones.target_names(tiny_model)
    for name, tensor in adapted.named_parameters():
        if "adapter" in name:
            torch.nn.init.normal_(tensor, generator=torch.Generator().manual_seed(0))
    assert not torch.allclose(adapted(images), before, atol=0.1)
    again = backbones.with_weights(TINY, adapted.state_dict())  # known by its tensors alone
    assert torch.equal(again(images), adapted(images))
    assert math.isclose(again.blocks[0].mlp.adapter.scale, 0.5)
    with pytest.raises(ArchitectureError, match="without adapters"):
        adapters.attach(adapted, 4)
    with pytest.raises(ArchitectureError, match="fit no other"):
        adapters.attach(backbones.build(TINY_OPT), 4)
