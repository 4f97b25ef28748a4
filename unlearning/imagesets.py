"""Readers of the image sets, one function each; datasets.py says what they hold and chooses among them.

All raise DatasetError for files that are absent or not what they should be.
"""

from __future__ import annotations

import gzip
import json
import struct
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from unlearning.errors import DatasetError

Pair = tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]  # images (n, channels, height, width), labels (n,)

# Sketches of CIFAR-10's classes, in their order; no sketched category is a deer.
SKETCHED: Final = ("airplane", "car", "bird", "cat", None, "dog", "frog", "horse", "cruise ship", "truck")
_SIDE = 28  # of a sketch, in pixels
_TEST_EVERY = 5  # where a set has no test part of its own, every fifth sample of a class is one


def digits() -> tuple[Pair, Pair]:
    """scikit-learn's digits: (train, test)."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    x = (images.reshape(-1, 1, 8, 8) / 16.0).astype(np.float32)
    return _split(x, labels.astype(np.int64))


def fashion_mnist(folder: Path) -> tuple[Pair, Pair]:
    """Fashion-MNIST from its four IDX files: (train, test)."""
    parts = []
    for prefix in ("train", "t10k"):
        x = _idx(folder / f"{prefix}-images-idx3-ubyte.gz", dimensions=3)
        y = _idx(folder / f"{prefix}-labels-idx1-ubyte.gz", dimensions=1)
        if len(x) != len(y):
            raise DatasetError(
                f"{folder}: got {len(x)} {prefix} images and {len(y)} labels, expected as many; fetch it anew"
            )
        parts.append(((x[:, None] / 255.0).astype(np.float32), y.astype(np.int64)))
    return parts[0], parts[1]


def cifar_10(folder: Path) -> tuple[Pair, Pair]:
    """CIFAR-10 from PNG files with one image per row, 1,024 RGB pixels: (train, test)."""
    train = np.concatenate([_png_rows(folder / f"data_batch_{number}.png") for number in range(1, 6)])
    test = _png_rows(folder / "test_batch.png")
    return tuple(  # type: ignore[return-value]  # two pairs, as the two lists of parts
        _labelled(images, folder / f"{part}_lables.json")  # the package's spelling
        for images, part in ((train, "train"), (test, "test"))
    )


def sketches(folder: Path, categories: tuple[str | None, ...] | None = None) -> tuple[Pair, Pair]:
    """Sketches of the QuickDraw set, white on black, 28 x 28: (train, test), 80 + 20 of each category.

    Labels are positions in `categories`, where None stands for a label without sketches; by default all
    categories in alphabetical order.
    """
    names = categories or tuple(sorted(path.name.removesuffix(".ndjson.gz") for path in folder.glob("*.ndjson.gz")))
    found = [(label, _drawings(folder, name)) for label, name in enumerate(names) if name is not None]
    if not found:
        raise DatasetError(f"{folder} holds no sketches; run `python -m unlearning fetch quickdraw`")
    x = np.concatenate([images for _, images in found])
    y = np.concatenate([np.full(len(images), label, np.int64) for label, images in found])
    return _split(x, y)


def as_cifar(pair: Pair) -> Pair:
    """Sketches (n, 1, 28, 28) in CIFAR-10's format: a black border of two pixels, three equal channels."""
    x = np.pad(pair[0], ((0, 0), (0, 0), (2, 2), (2, 2)))
    return np.repeat(x, 3, axis=1), pair[1]


def _split(x: npt.NDArray[np.float32], y: npt.NDArray[np.int64]) -> tuple[Pair, Pair]:
    """Every fifth sample of each class is a test sample; both parts keep the set's order."""
    held_out = np.zeros(len(y), dtype=bool)
    for label in np.unique(y):
        held_out[np.flatnonzero(y == label)[::_TEST_EVERY]] = True
    return (x[~held_out], y[~held_out]), (x[held_out], y[held_out])


def _idx(path: Path, dimensions: int) -> npt.NDArray[np.uint8]:
    """One gzipped IDX file of bytes: magic 0x000008NN, NN big-endian u32 sizes, the data."""
    try:
        with gzip.open(path) as file:
            data = file.read()
    except (OSError, EOFError) as error:
        raise DatasetError(
            f"cannot read {path}: {error}; run `python -m unlearning fetch fashion-mnist`, or install Debian's "
            "dataset-fashion-mnist"
        ) from error
    header = 4 + 4 * dimensions
    if len(data) < header or data[:4] != bytes([0, 0, 8, dimensions]):
        raise DatasetError(f"{path} begins {data[:4].hex()}, expected 000008{dimensions:02x}: an IDX file of bytes")
    shape = struct.unpack(f">{dimensions}I", data[4:header])
    if len(data) - header != int(np.prod(shape, dtype=np.int64)):
        raise DatasetError(f"{path} holds {len(data) - header} bytes of data, expected {shape} of them")
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)


def _png_rows(path: Path) -> npt.NDArray[np.uint8]:
    """Images (n, 3, 32, 32) of a PNG whose every row is one image, pixel after pixel."""
    from PIL import Image

    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None  # 10,000 rows look like a decompression bomb
    try:
        with Image.open(path) as picture:
            rows = np.asarray(picture.convert("RGB"))
    except (OSError, SyntaxError) as error:  # SyntaxError: what PIL raises for a broken PNG
        raise DatasetError(f"cannot read {path}: {error}; run `python -m unlearning fetch cifar-10`") from error
    finally:
        Image.MAX_IMAGE_PIXELS = limit
    if rows.shape[1:] != (1024, 3):
        raise DatasetError(f"{path} has rows {rows.shape[1:]}, expected 1024 pixels of 3 channels: one image a row")
    return rows.reshape(-1, 32, 32, 3).transpose(0, 3, 1, 2)


def _labelled(images: npt.NDArray[np.uint8], path: Path) -> Pair:
    try:
        labels = np.asarray(json.loads(path.read_text(encoding="ascii")), np.int64)
    except (OSError, ValueError, TypeError) as error:
        raise DatasetError(f"cannot read {path}: {error}; run `python -m unlearning fetch cifar-10`") from error
    if labels.shape != (len(images),):
        raise DatasetError(f"{path} holds labels {labels.shape}, expected ({len(images)},): one for each image")
    return np.divide(images, 255.0, dtype=np.float32), labels


def _drawings(folder: Path, name: str) -> npt.NDArray[np.float32]:
    path = folder / f"{name}.ndjson.gz"
    try:
        with gzip.open(path, "rt", encoding="ascii") as lines:
            values = np.asarray([json.loads(line) for line in lines], np.float32)
    except (OSError, EOFError, ValueError, TypeError) as error:
        raise DatasetError(f"cannot read {path}: {error}; run `python -m unlearning fetch quickdraw`") from error
    if values.ndim != 2 or values.shape[1] != _SIDE * _SIDE:
        raise DatasetError(
            f"{path} holds an array {values.shape}, expected (n, {_SIDE * _SIDE}): one sketch a line"
        )
    return values.reshape(-1, 1, _SIDE, _SIDE)
