import pytest
import torch

from tests.unlearning.conftest import TINY
from unlearning import backbones
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


def test_save_and_load_round_trip_and_are_canonical(tmp_path, tiny_model):
    state = tiny_model.state_dict()
    backbones.save(tmp_path / "a", state)
    backbones.save(tmp_path / "b", backbones.load(tmp_path / "a"))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert all(torch.equal(tensor, state[name]) for name, tensor in backbones.load(tmp_path / "a").items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"library": "keras"}, 'expected "timm"'),
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
