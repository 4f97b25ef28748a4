import json

import numpy as np
import pytest

from unlearning import backbones, datasets, fetch, maskfile, recipe
from unlearning.__main__ import main


def test_train_personalise_evaluate(tmp_path, tiny, capsys):
    out, client = tmp_path / "global", tmp_path / "client"
    common = ["--epochs", "1", "--seed", "3"]
    assert main(["train", "--architecture", str(tiny / "architecture.json"), "--out", str(out), *common]) == 0
    architecture = ["--architecture", str(out / "architecture.json")]
    personalise = ["personalise", "--global", str(out / "global.safetensors"), *architecture, *common]
    personalise += ["--client", "1", "--clients", "3", "--shift", "noise"]
    assert main([*personalise, "--out", str(client)]) == 0
    assert main([*personalise, "--out", str(tmp_path / "again")]) == 0
    for name in ("personal.safetensors", "data.npz", "test.npz"):
        assert (client / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    private = datasets.load_npz(client / "data.npz")
    assert len(private.y) == 478
    assert set(private.y) == set(range(10))

    capsys.readouterr()
    weights = ["--weights", str(client / "personal.safetensors")]
    data = ["--data", str(client / "test.npz"), "--json"]
    figures = []
    for extra in ([], ["--only-class", "8"], ["--without-class", "8"]):
        assert main(["evaluate", *architecture, *weights, *data, *extra]) == 0
        figures.append(json.loads(capsys.readouterr().out))
    right = [round(figure["accuracy"] * figure["samples"]) for figure in figures]
    assert right[0] == right[1] + right[2]
    assert figures[0]["samples"] == 364


def test_evaluate_zeroes_the_mask_first(tmp_path, tiny, capsys):
    arguments = ["evaluate", "--architecture", str(tiny / "architecture.json")]
    arguments += ["--weights", str(tiny / "global.safetensors"), "--data", str(tiny / "data.npz"), "--json"]
    accuracies = []
    for indices in ([], np.arange(8192)):
        (tmp_path / "mask").write_bytes(maskfile.format_mask(8192, indices))
        assert main([*arguments, "--mask", str(tmp_path / "mask")]) == 0
        accuracies.append(json.loads(capsys.readouterr().out)["accuracy"])
    assert main(arguments) == 0
    assert json.loads(capsys.readouterr().out)["accuracy"] == accuracies[0]
    assert accuracies[0] != accuracies[1]
    (tmp_path / "mask").write_bytes(maskfile.format_mask(8191, [1]))
    assert main([*arguments, "--mask", str(tmp_path / "mask")]) == 2
    assert "expected 8192" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "got '{', expected a JSON object"), ("[]", "got a JSON list"), ('{"library": "x"}', 'expected "timm"')],
)
def test_bad_architecture_files_end_in_one_sentence(tmp_path, tiny, capsys, content, message):
    path = tmp_path / "architecture.json"
    path.write_text(content)
    weights = ["--weights", str(tiny / "global.safetensors"), "--data", str(tiny / "data.npz")]
    assert main(["evaluate", "--architecture", str(path), *weights]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_absent_files_and_empty_selections_are_reported(tmp_path, tiny, capsys):
    good = {
        "--architecture": str(tiny / "architecture.json"),
        "--weights": str(tiny / "global.safetensors"),
        "--data": str(tiny / "data.npz"),
    }
    for change in ({"--architecture": str(tmp_path / "absent")}, {"--weights": "absent"}, {"--only-class": "77"}):
        assert main(["evaluate", *(part for pair in (good | change).items() for part in pair)]) == 2
        assert capsys.readouterr().err.startswith("python -m unlearning evaluate: ")


@pytest.mark.parametrize("method", ["lora", "adaptformer"])
def test_personalising_by_other_methods_gives_a_file_that_evaluates(tmp_path, tiny, capsys, method):
    architecture = ["--architecture", str(tiny / "architecture.json")]
    arguments = ["personalise", "--global", str(tiny / "global.safetensors"), *architecture, "--epochs", "1"]
    arguments += ["--client", "0", "--clients", "30", "--method", method, "--out", str(tmp_path)]
    assert main(arguments) == 0
    weights = ["--weights", str(tmp_path / "personal.safetensors"), "--data", str(tmp_path / "test.npz")]
    assert main(["evaluate", *architecture, *weights]) == 0
    assert "364 samples" in capsys.readouterr().out
    adapted = [name for name in backbones.load(tmp_path / "personal.safetensors") if ".adapter." in name]
    assert bool(adapted) == (method == "adaptformer")


def test_training_on_source_code_makes_a_language_model(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(fetch.FOLDER_VARIABLE, str(tmp_path))
    (tmp_path / "code-go").mkdir()
    for number in range(10):
        (tmp_path / "code-go" / f"{number}.go").write_bytes(bytes(range(number, number + 200)) * 2)
    assert main(["train", "--dataset", "code-go", "--epochs", "1", "--out", str(tmp_path / "out")]) == 0
    targets = json.loads((tmp_path / "out" / "targets.json").read_text())
    assert targets[0] == {"name": "model.decoder.layers.0.fc1.weight", "shape": [512, 128]}
    common = ["--architecture", str(tmp_path / "out" / "architecture.json")]
    data = ["--weights", str(tmp_path / "out" / "global.safetensors"), "--data", str(tmp_path / "out" / "test.npz")]
    assert main(["evaluate", *common, *data]) == 0
    assert "samples" in capsys.readouterr().out
    assert main(["evaluate", *common, *data, "--only-class", "1"]) == 2
    assert "no class" in capsys.readouterr().err


def test_a_mask_from_the_command_line_is_the_recipes_and_says_what_it_costs(tiny, tmp_path, capsys):
    command = [
        "mask",
        "--architecture",
        str(tiny / "architecture.json"),
        "--weights",
        str(tiny / "global.safetensors"),
    ]
    (tmp_path / "config").write_text('{"dataset": "digits", "samples": 10, "directions": {}, "chunkWeights": 1024}')
    chosen = ["--config", str(tmp_path / "config"), "--forget", '{"classes": [3, 4]}', "--granularity", "row"]
    assert main([*command, *chosen, "--budget", "2", "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    made = json.loads((tmp_path / "out" / "recipe.json").read_text())
    assert (made["budget"], made["forget"], made["granularity"]) == (0.02, {"classes": [3, 4]}, "row")
    mask = maskfile.read_mask((tmp_path / "out" / "mask.bin").read_bytes())
    assert len(mask.indices) == 164
    assert (tmp_path / "out" / "directions.bin").exists()
    assert f"touched   {len(mask.touched)} of 8 chunks of 1,024 weights" in printed
    assert recipe.recipe_digest(made) in printed

    file = str(tmp_path / "out" / "mask.bin")
    figures = ["--cpu-seconds-per-chunk", "2", "--proof-bytes-per-chunk", "10"]
    assert main(["inspect-mask", file, "--json", *figures]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["sha256"] == made["maskSha256"]
    assert (found["cpuSeconds"], found["proofBytes"]) == (2 * len(mask.touched), 10 * len(mask.touched))


def test_bad_mask_commands_end_with_one_sentence(tiny, tmp_path, capsys):
    command = [
        "mask",
        "--architecture",
        str(tiny / "architecture.json"),
        "--weights",
        str(tiny / "global.safetensors"),
    ]
    (tmp_path / "list").write_text("[]")
    for arguments, message in [
        ([*command, "--dataset", "digits", "--forget", '{"class": 11}', "--out", "x"], "class 11 has 0"),
        ([*command, "--dataset", "digits", "--forget", "{}", "--out", "x"], "exactly one of class"),
        (
            [*command, "--config", str(tmp_path / "list"), "--out", "x"],
            "got a JSON list, '[]', expected a JSON object",
        ),
        (["inspect-mask", str(tiny / "data.npz")], "expected a mask file"),
        (["inspect-mask", str(tmp_path / "absent")], "No such file"),
        (["inspect-mask", str(tmp_path / "list"), "--cpu-seconds-per-chunk", "-1"], "cannot be negative"),
    ]:
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("Traceback") == 0
