"""Image classification data: two real sets, the shifts that make a client's data its own, and .npz files.

Images are float32 (n, channels, height, width) in [0, 1], labels int64 (n,).
- `digits`: 1,797 handwritten digits of 8x8 that scikit-learn carries (UCI optical recognition of handwritten
  digits), split 4:1 per class in the set's own order.
- `fashion-mnist`: 60,000 + 10,000 images of 28x28, from the IDX files of Debian's `dataset-fashion-mnist`.
"""

from __future__ import annotations

import gzip
import os
import struct
import zipfile
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from unlearning.errors import DatasetError

Images = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]

NAMES: Final = ("digits", "fashion-mnist")
SHIFTS: Final = ("none", "rotation", "inversion", "noise")
ROTATION_DEGREES: Final = 30.0
NOISE_SIGMA: Final = 0.2
FOLDER_VARIABLE: Final = "UNLEARNING_DATASETS"
_DEFAULT_FOLDER = "/usr/share/datasets"


class Part(NamedTuple):
    """Images x (n, channels, height, width) and labels y (n,)."""

    x: Images
    y: Labels


class Dataset(NamedTuple):
    """The two parts every set has."""

    train: Part
    test: Part


def load(name: str) -> Dataset:
    """Load a set by name. Raises DatasetError when it is unknown or its files are not there."""
    if name == "digits":
        return _digits()
    if name == "fashion-mnist":
        return _fashion_mnist(Path(os.environ.get(FOLDER_VARIABLE, _DEFAULT_FOLDER)) / "fashion-mnist")
    raise DatasetError(f"got dataset {name!r}, expected one of {', '.join(NAMES)}")


def _digits() -> Dataset:
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    x = (images.reshape(-1, 1, 8, 8) / 16.0).astype(np.float32)
    y = labels.astype(np.int64)
    held_out = np.zeros(len(y), dtype=bool)
    for label in range(10):
        held_out[np.flatnonzero(y == label)[::5]] = True
    return Dataset(Part(x[~held_out], y[~held_out]), Part(x[held_out], y[held_out]))


def _fashion_mnist(folder: Path) -> Dataset:
    parts = []
    for prefix in ("train", "t10k"):
        x = _idx(folder / f"{prefix}-images-idx3-ubyte.gz", dimensions=3)
        y = _idx(folder / f"{prefix}-labels-idx1-ubyte.gz", dimensions=1)
        parts.append(check(Part((x[:, None] / 255.0).astype(np.float32), y.astype(np.int64)), folder.name))
    return Dataset(parts[0], parts[1])


def _idx(path: Path, dimensions: int) -> npt.NDArray[np.uint8]:
    """One gzipped IDX file of bytes: magic 0x000008NN, NN big-endian u32 sizes, the data."""
    try:
        with gzip.open(path) as file:
            data = file.read()
    except (OSError, EOFError) as error:
        raise DatasetError(
            f"cannot read {path}: {error}; install Debian's dataset-fashion-mnist, or point "
            f"{FOLDER_VARIABLE} at a folder that holds fashion-mnist/"
        ) from error
    header = 4 + 4 * dimensions
    if len(data) < header or data[:4] != bytes([0, 0, 8, dimensions]):
        raise DatasetError(f"{path} begins {data[:4].hex()}, expected 000008{dimensions:02x}: an IDX file of bytes")
    shape = struct.unpack(f">{dimensions}I", data[4:header])
    if len(data) - header != int(np.prod(shape, dtype=np.int64)):
        raise DatasetError(f"{path} holds {len(data) - header} bytes of data, expected {shape} of them")
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)


def shift(x: Images, kind: str, seed: int) -> Images:
    """Change the domain of images (n, c, h, w): what makes a client's data differ from the provider's.

    `rotation` by 30 degrees counter-clockwise (bilinear, black outside), `inversion` 1 - x, `noise` Gaussian
    with standard deviation 0.2 clipped to [0, 1] and drawn from `seed`, `none`. Raises DatasetError for
    another kind.
    """
    if kind == "none":
        return x.copy()
    if kind == "rotation":
        return _rotate(x, ROTATION_DEGREES)
    if kind == "inversion":
        return np.float32(1) - x
    if kind == "noise":
        noise = np.random.default_rng(seed).normal(0.0, NOISE_SIGMA, x.shape)
        return np.clip(x + noise, 0.0, 1.0).astype(np.float32)
    raise DatasetError(f"got shift {kind!r}, expected one of {', '.join(SHIFTS)}")


def _rotate(x: Images, degrees: float) -> Images:
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
    order = order[np.argsort(dataset.y[order], kind="stable")]  # by class, shuffled inside each
    mine = np.sort(order[client_index::clients])
    return Part(dataset.x[mine], dataset.y[mine])


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
    if x.dtype != np.float32 or x.ndim != 4 or y.dtype != np.int64 or y.shape != (len(x),) or x.size == 0:
        raise DatasetError(
            f"{source}: got x {x.dtype} {x.shape} and y {y.dtype} {y.shape}, "
            "expected float32 (n, channels, height, width) and int64 (n,), not empty"
        )
    if not np.isfinite(x).all() or x.min() < 0 or x.max() > 1 or y.min() < 0:
        raise DatasetError(f"{source}: expected pixels between 0 and 1 and labels from 0")
    return part
