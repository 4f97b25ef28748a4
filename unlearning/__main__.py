"""Models and data from the command line: `python -m unlearning train | personalise | evaluate`.

- `train` writes `global.safetensors` and `architecture.json`: the provider's model.
- `personalise` fine-tunes it on one client's shifted part of the data and writes `personal.safetensors`,
  `data.npz` (the client's private training data) and `test.npz` (test data with the same shift).
- `evaluate` prints a model's accuracy, optionally after zeroing the weights of a mask file.

The same seed on the same machine gives the same files. Bad input ends with one sentence on stderr and status
2.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from unlearning import backbones, datasets, evaluate, maskfile, personalize
from unlearning.errors import ArchitectureError, MaskError, UnlearningError
from unlearning.progress import Progress

GLOBAL_EPOCHS, GLOBAL_LR = 20, 2e-3
PERSONAL_EPOCHS, PERSONAL_LR = 30, 1e-3


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the process's exit status."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except (UnlearningError, OSError) as error:
        print(f"python -m unlearning {options.command}: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m unlearning", description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)

    train = commands.add_parser("train", help="train the provider's global model")
    train.add_argument("--dataset", choices=datasets.NAMES, default="digits")
    train.add_argument("--architecture", type=Path, help="architecture JSON (default: a small ViT for the dataset)")
    train.add_argument("--out", type=Path, required=True)
    _training(train, GLOBAL_EPOCHS, GLOBAL_LR)
    train.set_defaults(run=_train)

    personal = commands.add_parser("personalise", help="fine-tune the global model on one client's data")
    personal.add_argument("--global", dest="weights", type=Path, required=True)
    personal.add_argument("--architecture", type=Path, required=True)
    personal.add_argument("--dataset", choices=datasets.NAMES, default="digits")
    personal.add_argument("--client", type=int, required=True, help="which client, from 0")
    personal.add_argument("--clients", type=int, required=True, help="how many clients share the training data")
    personal.add_argument("--shift", choices=datasets.SHIFTS, default="none")
    personal.add_argument("--out", type=Path, required=True)
    _training(personal, PERSONAL_EPOCHS, PERSONAL_LR)
    personal.set_defaults(run=_personalise)

    measure = commands.add_parser("evaluate", help="measure a model's accuracy")
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
    return parser


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


def _train(options: argparse.Namespace) -> None:
    data = datasets.load(options.dataset)
    architecture = _read_json(options.architecture) if options.architecture else _small_vit(options.dataset)
    torch.set_num_threads(max(1, options.threads))
    torch.manual_seed(options.seed)
    model = backbones.build(architecture)
    with _bar("training") as progress:
        personalize.train(model, *data.train, options.epochs, options.lr, options.seed, progress)
    options.out.mkdir(parents=True, exist_ok=True)
    backbones.save(options.out / "global.safetensors", model.state_dict())
    (options.out / "architecture.json").write_text(json.dumps(architecture, indent=2) + "\n", encoding="utf-8")
    _console().print(f"test accuracy {evaluate.accuracy(model, *data.test):.4f}; wrote {options.out}")


def _personalise(options: argparse.Namespace) -> None:
    data = datasets.load(options.dataset)
    torch.set_num_threads(max(1, options.threads))
    mine = datasets.client_split(data.train, options.client, options.clients, options.seed)
    seed = options.seed * 1_000_003 + options.client  # each client draws its own noise and sample order
    private = datasets.Part(datasets.shift(mine.x, options.shift, seed), mine.y)
    test = datasets.Part(datasets.shift(data.test.x, options.shift, seed + 500_000), data.test.y)
    model = backbones.with_weights(_read_json(options.architecture), backbones.load(options.weights))
    before = evaluate.accuracy(model, *test)
    with _bar(f"personalising client {options.client}") as progress:
        personalize.train(model, *private, options.epochs, options.lr, seed, progress)
    options.out.mkdir(parents=True, exist_ok=True)
    backbones.save(options.out / "personal.safetensors", model.state_dict())
    datasets.save_npz(options.out / "data.npz", private)
    datasets.save_npz(options.out / "test.npz", test)
    after = evaluate.accuracy(model, *test)
    _console().print(f"accuracy on the client's test data {before:.4f} -> {after:.4f}; wrote {options.out}")


def _evaluate(options: argparse.Namespace) -> None:
    part = datasets.load_npz(options.data)
    keep = part.y >= 0
    if options.only_class is not None:
        keep = part.y == options.only_class
    elif options.without_class is not None:
        keep = part.y != options.without_class
    state = backbones.load(options.weights)
    architecture = _read_json(options.architecture)
    model = backbones.with_weights(architecture, state)
    if options.mask is not None:
        names = backbones.target_names(model, options.targets_pattern)
        total, indices = maskfile.parse_mask(options.mask.read_bytes())
        flat = backbones.flatten_targets(state, names)
        if total != len(flat):
            raise MaskError(f"the mask is over {total} weights, expected {len(flat)}; use the model's own mask")
        flat[torch.from_numpy(indices)] = 0.0
        model = backbones.with_weights(architecture, backbones.unflatten(state, names, flat))
    value = evaluate.accuracy(model, part.x[keep], part.y[keep])
    samples = int(keep.sum())
    print(
        json.dumps({"accuracy": value, "samples": samples}) if options.json else f"{value:.4f} ({samples} samples)"
    )


def _small_vit(dataset: str) -> dict[str, Any]:
    changes = {} if dataset == "digits" else {"img_size": 28, "patch_size": 4}
    return {**backbones.DIGITS_VIT, **changes}


def _read_json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ArchitectureError(f"{path} is not JSON: {error}; expected an architecture object") from error
    if not isinstance(document, dict):
        raise ArchitectureError(f"{path} holds a {type(document).__name__}, expected an architecture object")
    return document


def _console() -> Console:
    return Console(stderr=True)


@contextmanager
def _bar(title: str) -> Iterator[Progress]:
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Bar(*columns, console=_console()) as bar:
        task = bar.add_task(title, total=1.0)
        yield lambda fraction, message: bar.update(task, completed=fraction, description=f"{title}: {message}")


if __name__ == "__main__":
    sys.exit(main())
