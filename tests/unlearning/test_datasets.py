import gzip
import json
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from unlearning import corpora, datasets, fetch, imagesets
from unlearning.errors import DatasetError


def test_digits_parts_are_disjoint_complete_and_stratified():
    digits = datasets.load("digits")
    assert len(digits.train.y) + len(digits.test.y) == 1797
    assert min(np.bincount(digits.test.y)) >= 34
    for part in digits:
        datasets.check(part, "digits")
        assert part.x.shape[1:] == (1, 8, 8)
        assert part.x.max() == 1.0


def test_shifts():
    x = datasets.load("digits").test.x[:20]
    assert np.array_equal(datasets.shift(x, "none", 0), x)
    assert np.allclose(datasets.shift(datasets.shift(x, "inversion", 0), "inversion", 0), x)
    assert np.array_equal(datasets.shift(x, "noise", 1), datasets.shift(x, "noise", 1))
    assert not np.array_equal(datasets.shift(x, "noise", 1), datasets.shift(x, "noise", 2))
    for kind in datasets.SHIFTS:
        datasets.check(datasets.Part(datasets.shift(x, kind, 3), np.zeros(20, np.int64)), kind)
    with pytest.raises(DatasetError, match="mirror"):
        datasets.shift(x, "mirror", 0)


def test_rotation_turns_counter_clockwise_by_30_degrees():
    x = np.zeros((1, 1, 101, 101), np.float32)
    x[0, 0, 48:53, 88:93] = 1  # 40 pixels right of the centre
    rows, columns = np.nonzero(datasets.shift(x, "rotation", 0)[0, 0] > 0.5)
    angle = np.degrees(np.arctan2(50 - rows.mean(), columns.mean() - 50))
    assert angle == pytest.approx(30, abs=0.5)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 7), st.integers(0, 10**6))
def test_client_parts_partition_the_data_with_every_class(clients, seed):
    train = datasets.load("digits").train
    numbered = datasets.Part(np.arange(len(train.y), dtype=np.float32).reshape(-1, 1, 1, 1), train.y)
    parts = [datasets.client_split(numbered, index, clients, seed) for index in range(clients)]
    everything = np.concatenate([part.x.ravel() for part in parts])
    assert sorted(everything.tolist()) == list(range(len(train.y)))
    for part in parts:
        shares = np.bincount(part.y) / np.bincount(train.y)
        assert np.abs(shares - 1 / clients).max() < 0.02
    again = datasets.client_split(numbered, 0, clients, seed)
    assert np.array_equal(again.x, parts[0].x)


def test_client_split_refuses_strangers():
    train = datasets.load("digits").train
    for index in (-1, 3):
        with pytest.raises(DatasetError, match="expected 0 to 2"):
            datasets.client_split(train, index, 3, 0)


def test_npz_round_trip(tmp_path):
    part = datasets.load("digits").test
    datasets.save_npz(tmp_path / "data", part)
    got = datasets.load_npz(tmp_path / "data")
    assert np.array_equal(got.x, part.x)
    assert np.array_equal(got.y, part.y)


def good():
    return {"x": np.zeros((3, 1, 2, 2), np.float32), "y": np.zeros(3, np.int64)}


@pytest.mark.parametrize(
    "change",
    [
        {"x": np.zeros((3, 1, 2, 2))},
        {"x": np.zeros((3, 4), np.float32)},
        {"x": np.zeros((2, 1, 2, 2), np.float32)},
        {"x": np.full((3, 1, 2, 2), 1.5, np.float32)},
        {"x": np.full((3, 1, 2, 2), np.nan, np.float32)},
        {"x": np.zeros((0, 1, 2, 2), np.float32), "y": np.zeros(0, np.int64)},
        {"y": np.zeros(3, np.int32)},
        {"y": np.full(3, -1)},
        {"y": np.array([None, {}, []], dtype=object)},
        {"z": np.zeros(3)},
    ],
)
def test_npz_with_other_content_is_refused(tmp_path, change):
    path = tmp_path / "data.npz"
    np.savez(path, **(good() | change))
    with pytest.raises(DatasetError, match="expected"):
        datasets.load_npz(path)


def test_files_that_are_no_npz_are_refused(tmp_path):
    np.savez(tmp_path / "whole.npz", **good())
    whole = (tmp_path / "whole.npz").read_bytes()
    np.save(tmp_path / "single.npy", good()["x"])
    for name, content in (
        ("empty", b""),
        ("text", b"hello"),
        ("cut", whole[: len(whole) // 2]),
        ("one", (tmp_path / "single.npy").read_bytes()),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DatasetError, match="expected"):
            datasets.load_npz(tmp_path / name)
    with pytest.raises(DatasetError, match="absent"):
        datasets.load_npz(tmp_path / "absent")


def write_idx(path, array):
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(gzip.compress(header + array.tobytes()))


def test_fashion_mnist_reads_idx_files(tmp_path, monkeypatch):
    folder = tmp_path / "fashion-mnist"
    folder.mkdir()
    monkeypatch.setenv(fetch.FOLDER_VARIABLE, str(tmp_path))
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (5, 28, 28), dtype=np.uint8)
    for prefix in ("train", "t10k"):
        write_idx(folder / f"{prefix}-images-idx3-ubyte.gz", images)
        write_idx(folder / f"{prefix}-labels-idx1-ubyte.gz", np.arange(5, dtype=np.uint8))
    train, _ = datasets.load("fashion-mnist")
    assert np.array_equal(np.rint(train.x[:, 0] * 255), images)
    assert train.y.tolist() == [0, 1, 2, 3, 4]

    write_idx(folder / "t10k-labels-idx1-ubyte.gz", np.zeros((1, 5), np.uint8))
    with pytest.raises(DatasetError, match="expected 00000801"):
        datasets.load("fashion-mnist")
    (folder / "train-images-idx3-ubyte.gz").unlink()
    with pytest.raises(DatasetError, match="dataset-fashion-mnist"):
        datasets.load("fashion-mnist")


def test_unknown_sets_are_refused():
    with pytest.raises(DatasetError, match="expected one of digits, fashion-mnist"):
        datasets.load("imagenet")


def test_cifar_rows_become_images_channel_by_channel(tmp_path, monkeypatch):
    folder = tmp_path / "cifar-10"
    folder.mkdir()
    monkeypatch.setenv(fetch.FOLDER_VARIABLE, str(tmp_path))
    pixels = np.random.default_rng(0).integers(0, 256, (6, 2, 32, 32, 3), dtype=np.uint8)
    names = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
    for name, images in zip(names, pixels, strict=True):
        Image.fromarray(images.reshape(2, 1024, 3)).save(folder / f"{name}.png")
    (folder / "train_lables.json").write_text(json.dumps(list(range(10))))
    (folder / "test_lables.json").write_text("[3, 8]")
    train, test = datasets.load("cifar-10")
    assert np.array_equal(np.rint(train.x[2:4] * 255), pixels[1].transpose(0, 3, 1, 2))
    assert np.array_equal(np.rint(test.x * 255), pixels[5].transpose(0, 3, 1, 2))
    assert train.y.tolist() == list(range(10))
    assert test.y.tolist() == [3, 8]
    (folder / "test_lables.json").write_text("[3]")
    with pytest.raises(DatasetError, match="one for each image"):
        datasets.load("cifar-10")
    Image.fromarray(pixels[0].reshape(4, 512, 3)).save(folder / "test_batch.png")
    with pytest.raises(DatasetError, match="expected 1024 pixels"):
        datasets.load("cifar-10")
    (folder / "test_batch.png").write_bytes(b"no picture")
    with pytest.raises(DatasetError, match="fetch cifar-10"):
        datasets.load("cifar-10")


def test_sketches_come_by_category_or_with_the_labels_of_cifar(tmp_path, monkeypatch):
    folder = tmp_path / "quickdraw"
    folder.mkdir()
    monkeypatch.setenv(fetch.FOLDER_VARIABLE, str(tmp_path))
    with pytest.raises(DatasetError, match="fetch quickdraw"):
        datasets.load("quickdraw")
    names = sorted(name for name in imagesets.SKETCHED if name)
    drawings = np.random.default_rng(0).integers(0, 1001, (len(names), 10, 784)) / 1000
    for name, lines in zip(names, drawings, strict=True):
        text = "".join(f"{json.dumps(line.tolist())}\n" for line in lines)
        (folder / f"{name}.ndjson.gz").write_bytes(gzip.compress(text.encode()))
    train, test = datasets.load("quickdraw")
    assert (len(train.y), len(test.y)) == (9 * 8, 9 * 2)
    assert np.allclose(test.x[0].ravel(), drawings[0, 0])
    assert np.allclose(train.x[8 * 3].ravel(), drawings[3, 1])
    assert train.y[8 * 3] == 3
    like_cifar, _ = datasets.load("quickdraw-cifar-10")
    assert sorted(set(like_cifar.y)) == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    frog = like_cifar.x[like_cifar.y == imagesets.SKETCHED.index("frog")]
    assert np.array_equal(frog[0, 2, 2:30, 2:30], train.x[train.y == names.index("frog")][0, 0])
    assert frog.shape[1:] == (3, 32, 32)
    (folder / "frog.ndjson.gz").write_bytes(gzip.compress(b"[1, 2]\n"))
    with pytest.raises(DatasetError, match="one sketch a line"):
        datasets.load("quickdraw")


def test_a_corpus_is_cut_by_file_without_copies():
    draw = np.random.default_rng(0)
    header = draw.bytes(129)
    files = [header + draw.bytes(129 * 3 + 50) for _ in range(20)]
    train, test = corpora.cut(files)
    assert len(train) == 16 * 3 + 1  # the header once, and nothing of the last 50 bytes
    assert len(test) == 4 * 3
    everything = {bytes(window.astype(np.uint8)) for window in (*train, *test)}
    assert len(everything) == len(train) + len(test)
    for part in (train, test):
        owners = {
            next(n for n, file in enumerate(files) if window.astype(np.uint8).tobytes() in file) for window in part
        }
        assert len(owners) in {16, 4}
    again = corpora.cut([*reversed(files), files[0]])  # order and copies do not matter
    assert all(np.array_equal(one, two) for one, two in zip((train, test), again, strict=True))


def test_a_language_is_tokens_and_those_that_follow(tmp_path, monkeypatch):
    monkeypatch.setenv(fetch.FOLDER_VARIABLE, str(tmp_path))
    with pytest.raises(DatasetError, match="fetch code-go"):
        datasets.load("code-go")
    draw = np.random.default_rng(0)
    for name, suffix in corpora.LANGUAGES.items():
        for number in range(5):
            path = tmp_path / name / "deep" / f"{number}{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(draw.bytes(300))
    train, test = datasets.load("code-go")
    assert (train.x.shape, test.x.shape) == ((8, 128), (2, 128))
    assert np.array_equal(train.x[:, 1:], train.y[:, :-1])
    rust = datasets.load("code-rust").train
    python = datasets.load("code-python").train
    monkeypatch.setattr(corpora.sysconfig, "get_path", lambda _: str(tmp_path / "code-python"))
    whole = datasets.load("code").train
    groups = datasets.classes("code", whole)
    assert np.bincount(groups).tolist() == [8, 8, 8, 8]
    assert np.array_equal(whole.x[groups == 2], rust.x)
    assert len(python.y) == corpora.TRAIN_WINDOWS  # the interpreter's own library
    datasets.save_npz(tmp_path / "text.npz", train)
    assert np.array_equal(datasets.load_npz(tmp_path / "text.npz").y, train.y)
    parts = [datasets.client_split(train, index, 3, 0) for index in range(3)]
    assert sum(len(part.y) for part in parts) == 8
    with pytest.raises(DatasetError, match="shifts are for images"):
        datasets.shift(train.x, "rotation", 0)
