import json

import numpy as np
import pytest
import torch

from tests.unlearning.reference_obs import objective
from unlearning import corpora, fetch, obs, reproduce
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


def test_forget_safe_compensation_is_the_constrained_optimum():
    draw = torch.Generator().manual_seed(0)
    theta, direction = (torch.randn(5, 8, generator=draw, dtype=torch.float64) for _ in range(2))
    root = torch.randn(5, 8, 8, generator=draw, dtype=torch.float64)
    curvature = root @ root.transpose(1, 2) + 0.1 * torch.eye(8)
    mask = torch.rand(5, 8, generator=draw) < 0.3
    direction[4] = 0  # nothing to keep away from: plain Group-OBS
    plain = obs.group_obs(theta, mask, curvature)
    unit = torch.nn.functional.normalize(direction * ~mask, dim=1)
    size = ((plain - theta) * unit).sum(1).abs().mean()
    for push in (0.0, 0.5):
        found = language.forget_safe(theta, mask, curvature, direction, push)
        assert torch.equal(found == 0, mask)
        assert torch.allclose(((found - theta) * unit)[:4].sum(1), push * size)
        assert torch.allclose(found[4], plain[4])
        for block in range(4):  # no step along the constraints makes it better
            free = torch.randn(8, 200, generator=draw, dtype=torch.float64) * ~mask[block][:, None]
            free -= unit[block][:, None] * (unit[block] @ free)
            at = theta[block], curvature[block]
            here = objective(at[0], found[block], at[1])
            assert min(objective(at[0], found[block] + 0.01 * step, at[1]) for step in free.T) > here


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
    with pytest.raises(UnlearningError, match="expected one of language"):
        reproduce.run("physics", [0])
    monkeypatch.setenv(fetch.FOLDER_VARIABLE, str(tmp_path / "none"))
    assert main(["reproduce", "language", "--work", str(tmp_path)]) == 2
    assert "python -m unlearning fetch code-" in capsys.readouterr().err
