import json

import pytest
import torch

from unlearning import reproduce
from unlearning.baselines import Scrub
from unlearning.errors import DatasetError
from unlearning.personalize import Personalisation, Training
from unlearning.reproduce import vision, vision_models, vision_report

TINY = vision_models.Size(
    dataset="digits",
    patch=2,
    width=32,
    depth=1,
    samples=500,
    personal=200,
    training=Training(3, 3e-3, batch=32, weight_decay=0.1),
    personalisation=Personalisation(Training(2, 1e-3, batch=32, weight_decay=0.1)),
)
QUICK = vision.Setting(TINY, vision.Operator(), gradients=48, scrub=Scrub(1, 1, 1e-4), tests=100, curve_tests=40)


def test_the_class_experiment_judges_both_clients_and_resumes(tmp_path):
    work, out = tmp_path / "work", tmp_path / "out"

    def stop(done, text):
        if text == "holding-plain_obs":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        vision.run_class([0], out, stop, work=work, setting=QUICK)
    kept = {path: path.stat().st_mtime_ns for path in work.rglob("*.*") if path.name != "settings.json"}
    figures = vision.run_class([0], out, work=work, setting=QUICK)
    assert len([path for path in kept if path.suffix == ".safetensors"]) == 6
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items())  # nothing was computed twice
    assert set(figures) == {
        "forget_acc",
        "personal_acc",
        "exact_forget_acc",
        "exact_personal_acc",
        "plain_obs_forget_acc",
        "mia_auc",
        "seeds",
    }
    page = (out / "class.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| ") and line.count("|") == 9]
    assert len(rows) == 2 + len(vision.METHODS) * 2 + 1  # two heads, two clients, the holder's second gold standard
    assert (out / "class-holding.svg").exists()
    assert not (out / "class-lacking.svg").exists()
    folder = next(path for path in work.glob("class/*") if path.is_dir())
    exact = json.loads((folder / "holding-exact.json").read_text())
    assert exact["kl_forget"] == exact["kl_personal"] == 0
    assert figures["exact_forget_acc"] == round(exact["held_out_acc"], 4)


def test_random_forget_sets_come_from_the_provider_s_samples_and_have_one_client(tmp_path):
    size = TINY._replace(forget_class=None, forget_samples=50)
    how = vision.RANDOM.operator
    setting = QUICK._replace(size=size, operator=how)
    figures = vision.run_random([1], tmp_path, work=tmp_path / "work", setting=setting)
    assert figures["seeds"] == [1]
    data = vision_models.draw(size, 1)
    assert (len(data.forget.y), len(data.retain.y), list(data.personal)) == (50, 450, [vision_models.HOLDING])
    page = (tmp_path / "random.md").read_text()
    assert "50 of the provider's samples" in page
    assert "the right label's probability over at most 480 samples to forget, less the same over retained" in page
    assert "seeds 10 and 11" in page


def test_a_client_that_lacks_the_class_has_none_of_it_and_too_few_samples_are_refused():
    data = vision_models.draw(TINY, 0)
    assert (data.forget.y == 8).all()
    assert (data.held_out.y == 8).all()
    assert not (data.retain.y == 8).any()
    assert not (data.personal[vision_models.LACKING].y == 8).any()
    assert (data.personal[vision_models.HOLDING].y == 8).any()
    assert not (data.personal_test.y == 8).any()
    with pytest.raises(DatasetError, match="has 1433 samples, expected 2200"):
        vision_models.draw(TINY._replace(samples=2000), 0)


def test_the_push_goes_where_the_forget_gradient_is_and_raises_the_forget_loss():
    """The proposed operator's step along each direction is the published one, up to rounding."""
    data = vision_models.draw(TINY, 0)
    torch.manual_seed(0)
    first = vision.backbones.build(vision_models.architecture(TINY)).state_dict()
    provider = vision.Provider(QUICK, data, first)
    models = vision_models.Models(first, dict.fromkeys(TINY.clients, first), dict.fromkeys(TINY.clients, first))
    client = vision.Client(QUICK, data, models, vision_models.HOLDING, provider, 0)
    how = QUICK.operator
    mask = provider.mask(how)
    directions = provider.directions(mask, how)
    assert not directions.rows.flatten(1)[:, mask.view(-1, 64)[0]][0].any()  # nothing points along a masked weight
    change = (client.integer(mask, how) - client.theta).masked_fill(mask, 0.0).view(-1, 64).double()
    along = (change * directions.rows[:, 0].double()).sum(1) * 2.0**QUICK.grid_bits
    wanted = directions.push[:, 0].double()
    assert wanted.min() >= 0
    assert wanted.max() > 0
    assert (along - wanted).abs().mean() < 0.05 * wanted.mean()
    still = client.integer(mask, how._replace(push=0.0))
    moved = ((still - client.theta).masked_fill(mask, 0.0).view(-1, 64) * directions.rows[:, 0]).sum(1)
    assert moved.abs().mean() * 2.0**QUICK.grid_bits < 0.05 * wanted.mean()


def test_every_experiment_can_be_found_by_its_name():
    for place in reproduce.EXPERIMENTS.values():
        module, function = place.split(":")
        assert callable(getattr(__import__(module, fromlist=[function]), function))
    assert set(vision_report.CURVES) <= set(vision.Operator._fields)
