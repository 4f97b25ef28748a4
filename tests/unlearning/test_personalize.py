import numpy as np
import pytest
import torch

from tests.unlearning.conftest import TINY, TINY_OPT
from unlearning import backbones, datasets, evaluate, personalize
from unlearning.errors import ArchitectureError, DatasetError
from unlearning.personalize import Personalisation, Training


def trained(seed):
    torch.manual_seed(seed)
    model = backbones.build(TINY)
    data, seen = datasets.load("digits").train.first(96), []
    how = Training(3, 2e-3)
    losses = personalize.train(model, data, how, seed, lambda done, text: seen.append((done, text)))
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
            personalize.train(tiny_model, samples, Training(epochs, lr), 0)
    with pytest.raises(DatasetError, match="0 images"):
        personalize.train(tiny_model, samples.first(0), Training(1, 1e-3), 0)


def test_divergence_is_reported(tiny_model, samples):
    with torch.no_grad():
        tiny_model.head.weight.fill_(float("nan"))
    with pytest.raises(DatasetError, match="lower the learning rate"):
        personalize.train(tiny_model, samples, Training(1, 1e-3), 0)


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
    personalize.train(tiny_model, samples, Training(3, 1e-2), 0, pinned=pins)
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
            personalize.train(tiny_model, samples, Training(1, 1e-3), 0, pinned=pins)


def personalised(model, samples, how, **more):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    loss = evaluate.score(model, *samples).losses.mean()
    model = personalize.personalise(model, samples, how, 1, **more)
    assert not model.training
    assert all(weight.requires_grad for weight in model.parameters())
    assert evaluate.score(model, *samples).losses.mean() < loss
    after = model.state_dict()
    return model, {name for name in before if not torch.equal(before[name], after[name])}


LORA = Personalisation(Training(6, 1e-2, batch=4), "lora", rank=2)


def test_lora_changes_its_layers_by_low_rank_and_keeps_the_models_form(tiny, tiny_model, samples):
    first = backbones.load(tiny / "global.safetensors")
    model, changed = personalised(tiny_model, samples, LORA)
    layers = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
    adapted = {f"blocks.{i}.{layer}.weight" for i in range(2) for layer in layers}
    assert changed == adapted | {"head.weight", "head.bias"}
    for name in adapted:
        assert torch.linalg.matrix_rank(model.state_dict()[name] - first[name], rtol=1e-4) == 2
    backbones.with_weights(TINY, model.state_dict())
    other = backbones.with_weights(TINY, first)
    again, _ = personalised(other, samples, LORA)
    assert all(torch.equal(one, two) for one, two in zip(model.parameters(), again.parameters(), strict=True))


def test_adaptformer_leaves_the_targets_alone_and_can_be_saved(tmp_path, tiny_model, samples):
    how = Personalisation(Training(6, 1e-2, batch=4), "adaptformer", bottleneck=3, head=False)
    model, changed = personalised(tiny_model, samples, how)
    assert changed == set()  # of the tensors there were
    backbones.save(tmp_path / "personal", model.state_dict())
    again = backbones.with_weights(TINY, backbones.load(tmp_path / "personal"))
    assert torch.equal(again(torch.from_numpy(samples.x)), model(torch.from_numpy(samples.x)))
    assert backbones.target_names(again) == backbones.target_names(backbones.build(TINY))


@pytest.mark.parametrize("method", ["full", "lora", "adaptformer"])
def test_pins_hold_with_every_method(tiny_model, samples, method):
    name = backbones.target_names(tiny_model)[0]
    pin = torch.rand(128, 32, generator=torch.Generator().manual_seed(1)) < 0.3
    with torch.no_grad():
        tiny_model.get_parameter(name).masked_fill_(pin, 0)
    model, _ = personalised(tiny_model, samples, LORA._replace(method=method), pinned={name: pin})
    assert torch.equal(model.get_parameter(name) == 0, pin)


def test_a_language_model_learns_by_lora_and_resumes(tmp_path):
    text = (
        np.frombuffer(b"for i in range(10):\n    print(i)\n" * 16, np.uint8).astype(np.int64)[:528].reshape(16, 33)
    )
    data = datasets.Part(text[:, :-1], text[:, 1:])

    def model():
        torch.manual_seed(0)
        return backbones.build(TINY_OPT)

    whole, changed = personalised(model(), data, LORA)
    assert {name.split(".")[-2] for name in changed} == {"q_proj", "v_proj", "fc1", "fc2"}

    def stop(done, _):
        if done > 0.4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        personalize.personalise(model(), data, LORA, 1, stop, checkpoint=tmp_path / "run.pt")
    resumed = personalize.personalise(model(), data, LORA, 1, checkpoint=tmp_path / "run.pt")
    assert all(torch.equal(one, two) for one, two in zip(whole.parameters(), resumed.parameters(), strict=True))


def test_personalisation_without_sense_is_refused(tiny_model, samples):
    for change, message in (
        ({"method": "prompt"}, "expected full, lora or adaptformer"),
        ({"rank": 0}, "rank 0"),
        ({"modules": "wings"}, "LoRA fits no layer"),
    ):
        with pytest.raises(ArchitectureError, match=message):
            personalize.personalise(tiny_model, samples, LORA._replace(**change), 0)
