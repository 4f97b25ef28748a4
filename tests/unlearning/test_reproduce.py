import json

import numpy as np
import pytest
import torch

from unlearning import backbones, corpora, fetch, reproduce
from unlearning.__main__ import main
from unlearning.baselines import Scrub
from unlearning.errors import DatasetError, UnlearningError
from unlearning.personalize import Personalisation, Training
from unlearning.reproduce import language
from unlearning.reproduce.steps import Steps

QUICK = Training(1, 3e-3, batch=16)
SMALL = language.Setting(
    width=32,
    depth=1,
    windows=24,
    personal_windows=16,
    tests=8,
    gradients=12,
    training=QUICK,
    personalisation=Personalisation(QUICK, "lora", rank=2),
    ascent=QUICK,
    scrub=Scrub(1, 1, 1e-4),
    budgets=(0.02, 0.05),
)


@pytest.fixture
def languages(tmp_path, monkeypatch):
    """Four made-up languages, each with its own alphabet."""
    monkeypatch.setenv(fetch.FOLDER_VARIABLE, str(tmp_path / "sets"))
    monkeypatch.setattr(corpora.sysconfig, "get_path", lambda _: str(tmp_path / "sets" / "code-python"))
    draw = np.random.default_rng(0)
    for number, (name, suffix) in enumerate(corpora.LANGUAGES.items()):
        folder = tmp_path / "sets" / name
        folder.mkdir(parents=True)
        for file in range(10):
            text = draw.integers(20 * number, 20 * number + 40, 129 * 4)
            (folder / f"{file}{suffix}").write_bytes(bytes(text.astype(np.uint8)))
    return tmp_path


def test_the_language_case_runs_writes_its_page_and_resumes(languages):
    work, out, seen = languages / "work", languages / "out", []

    def stop(done, text):
        seen.append(text)
        if text == "plain_obs":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        language.run([3, 4], out, stop, work=work, setting=SMALL)
    kept = {path: path.stat().st_mtime_ns for path in work.rglob("*.safetensors")}
    figures = language.run([3, 4], out, work=work, setting=SMALL)
    assert len(kept) == 4
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items())  # nothing was trained twice
    wanted = {
        "forget_acc",
        "personal_acc",
        "exact_forget_acc",
        "exact_personal_acc",
        "plain_obs_forget_acc",
        "mia_auc",
    }
    assert wanted < set(figures)
    assert all(0 <= figures[name] <= 1 for name in wanted)
    assert figures["seeds"] == [3, 4]
    page = (out / "language.md").read_text()
    assert "--seeds 3,4" in page
    rows = [line for line in page.splitlines() if line.startswith("| ") and "±" in line]
    assert len(rows) == len(language.METHODS) + len(SMALL.budgets)
    assert (out / "language.svg").read_text().count("forget-safe, orthogonal") == 1
    first = next(iter(kept)).parent
    exact = json.loads((first / "exact.json").read_text())
    assert exact["kl_forget"] == exact["kl_personal"] == 0
    assert language.run([3, 4], languages / "again", work=work, setting=SMALL) == figures
    assert (languages / "again" / "language.svg").read_bytes() == (out / "language.svg").read_bytes()


def test_too_few_windows_are_reported_before_anything_is_trained(languages):
    with pytest.raises(DatasetError, match=r"code-python has 32 \+ 8 windows, expected 2048 \+ 384"):
        language.run([0], languages / "out", work=languages / "work")
    assert not (languages / "work").exists()


def test_forget_safe_change_has_the_component_that_was_asked_for(languages):
    """In floats exactly, in integers as closely as rounding allows; plain Group-OBS has another."""
    data = language.load(SMALL)
    torch.manual_seed(0)
    state = backbones.build(SMALL.architecture).state_dict()
    client = language.Client(SMALL, data, state, state, 0)
    mask = client._mask(0.05)
    unit = client._directions(mask).rows[:, 0]

    def along(method):
        return (client._blocks(client.weights(method, 0.05) - client.theta).double() * unit).sum(1)

    plain = along("plain_obs")
    wanted = SMALL.push * plain.abs().mean()
    assert plain.abs().mean() > 1e-5
    assert along("forget_safe").abs().max() < 1e-7
    assert (along("forget_safe_push") - wanted).abs().max() < 1e-7
    assert (along("forget_safe_integer") - wanted).abs().mean() < 0.1 * wanted
    for method in ("plain_obs", "forget_safe", "forget_safe_integer"):
        assert not client.weights(method, 0.05)[mask].any()


def test_steps_are_computed_once_and_settings_have_their_own_folder(tmp_path):
    calls = []

    def compute():
        calls.append(1)
        return {"figure": 0.5}

    one = Steps(tmp_path, {"seed": 1}, None, 2)
    assert one.figures("step", compute) == one.figures("step", compute) == {"figure": 0.5}
    assert Steps(tmp_path, {"seed": 1}, None, 2).figures("step", compute) == {"figure": 0.5}
    assert len(calls) == 1
    Steps(tmp_path, {"seed": 2}, None, 2).figures("step", compute)
    assert len(calls) == 2
    assert torch.equal(one.weights("w", lambda: {"w": torch.ones(3)})["w"], torch.ones(3))


def test_the_command_refuses_what_makes_no_sense(tmp_path, capsys, monkeypatch):
    for seeds in ("", "1,x", "-1", "1,1"):
        assert main(["reproduce", "language", f"--seeds={seeds}", "--work", str(tmp_path)]) == 2
        assert "whole numbers" in capsys.readouterr().err.splitlines()[-1]
    with pytest.raises(UnlearningError, match="expected one of class, random, language"):
        reproduce.run("physics", [0])
    monkeypatch.setenv(fetch.FOLDER_VARIABLE, str(tmp_path / "none"))
    assert main(["reproduce", "language", "--work", str(tmp_path)]) == 2
    assert "python -m unlearning fetch code-" in capsys.readouterr().err
