"""Bundles that are kept for the next range of them: made once, given to all, and gone when it is time."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import pytest

from ledger.workflow import kept_bundles
from ledger.workflow.errors import WorkflowError
from ledger.workflow.housekeeping import tidy

DATA = b"a bundle" * 100


@pytest.fixture(autouse=True)
def folder(settings, tmp_path: Path) -> Path:
    settings.LEDGER_DATA_DIR = tmp_path
    return tmp_path / "bundles"


def never(out: BinaryIO) -> int:
    raise AssertionError("it is there already")


def writes(data: bytes) -> Callable[[BinaryIO], int]:
    return lambda out: out.write(data)


def read(question: bytes, write: Callable[[BinaryIO], int] = never) -> bytes:
    file, digest = kept_bundles.kept_or_written(question, write)
    with file:
        data = file.read()
    assert hashlib.sha256(data).hexdigest() == digest
    return data


def there(folder: Path) -> int:
    return sum(path.is_file() for path in folder.iterdir())


def test_what_is_kept_is_not_made_again(folder: Path) -> None:
    assert read(b"one", writes(DATA)) == read(b"one") == DATA
    assert read(b"another", writes(b"else")) == b"else"
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir() if path.is_file()} == {0o600}


def test_eight_at_once_have_it_made_once() -> None:
    made, together = [], threading.Barrier(8)

    def write(out: BinaryIO) -> int:
        made.append(1)
        time.sleep(0.05)  # as long as others may come in
        return out.write(DATA)

    def ask(_: int) -> bytes:
        together.wait()
        return read(b"one", write)

    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(ask, range(8))) == {DATA}
    assert len(made) == 1


@pytest.mark.django_db
def test_old_ones_go_and_those_longest_not_asked_for(folder: Path, settings) -> None:
    for number in range(4):
        read(b"%d" % number, writes(DATA))
    for age, path in enumerate(sorted(path for path in folder.iterdir() if path.is_file())):
        os.utime(path, (time.time() - 100 * age - 50,) * 2)
    settings.LEDGER_BUNDLE_SECONDS = 300
    assert (kept_bundles.make_room(), there(folder)) == (1, 3)
    settings.LEDGER_BUNDLE_CACHE = 2 * len(DATA)
    assert (kept_bundles.make_room(), there(folder)) == (1, 2)
    read(b"new", writes(DATA))
    assert there(folder) == 3
    settings.LEDGER_BUNDLE_SECONDS = 0
    tidy()
    assert there(folder) == 0


def test_who_asks_again_keeps_it(folder: Path, settings) -> None:
    read(b"one", writes(DATA))
    (path,) = (path for path in folder.iterdir() if path.is_file())
    os.utime(path, (0, 0))
    assert read(b"one") == DATA
    assert kept_bundles.make_room() == 0


def test_what_is_being_sent_stays_whole(folder: Path, settings) -> None:
    settings.LEDGER_BUNDLE_SECONDS = 0
    file, _ = kept_bundles.kept_or_written(b"one", writes(DATA))
    with file:
        assert (kept_bundles.make_room(), there(folder)) == (1, 0)
        assert file.read() == DATA


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), WorkflowError("too-large", "no")])
def test_nothing_is_left_of_what_failed(folder: Path, error: Exception) -> None:
    """And a full disk gets back what was kept."""

    def fails(out: BinaryIO) -> int:
        out.write(DATA)
        raise error

    read(b"before", writes(DATA))
    with pytest.raises(type(error)):
        kept_bundles.kept_or_written(b"one", fails)
    assert there(folder) == (0 if isinstance(error, OSError) else 1)
    assert read(b"one", writes(DATA)) == DATA
