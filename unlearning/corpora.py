"""Source code in several languages as sequences of bytes, for the language-model case.

A language's files are ordered by the SHA-256 of their content, so that neither names nor folders matter;
copies fall away. Every fifth file is a test file, the others are for training. A file is cut into windows of
129 bytes, without overlap, and the rest dropped: 128 tokens to read, and the 128 that follow each. A window
that stood before, in an earlier file or in training (licence headers, above all), falls away too. From each
file at most 64 windows are taken, and 8,192 + 1,024 from each language.

Python is the standard library of the interpreter at work, so it changes with that; the other languages come
from Debian's source packages of their standard libraries, fixed by SHA-256 (`python -m unlearning fetch`).
"""

from __future__ import annotations

import hashlib
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from unlearning import fetch
from unlearning.errors import DatasetError

LENGTH: Final = 128
VOCABULARY: Final = 256  # tokens are bytes
LANGUAGES: Final = {"code-python": ".py", "code-go": ".go", "code-rust": ".rs", "code-erlang": ".erl"}
NAMES: Final = (*LANGUAGES, "code")
TRAIN_WINDOWS: Final = 8192
TEST_WINDOWS: Final = 1024
_PER_FILE = 64
_TEST_EVERY = 5

Tokens = npt.NDArray[np.int64]
Pair = tuple[Tokens, Tokens]


def load(name: str) -> tuple[Pair, Pair]:
    """(train, test) of one language, or of all one after another (`code`): tokens and following tokens.

    Raises DatasetError when the files are not there or too few.
    """
    wanted = tuple(LANGUAGES) if name == "code" else (name,)
    found = [_language(each) for each in wanted]
    train, test = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return (train[:, :-1], train[:, 1:]), (test[:, :-1], test[:, 1:])


def languages(name: str) -> Tokens:
    """For each training sample of `name` the position of its language in LANGUAGES, (n,)."""
    wanted = tuple(LANGUAGES) if name == "code" else (name,)
    counts = [len(_language(each)[0]) for each in wanted]
    return np.repeat([list(LANGUAGES).index(each) for each in wanted], counts).astype(np.int64)


def cut(files: Sequence[bytes]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Windows (n, 129) for training and for tests of files in any order; see the module's head."""
    ordered = [content for _, content in sorted({hashlib.sha256(file).digest(): file for file in files}.items())]
    seen: set[bytes] = set()
    train = _windows((file for n, file in enumerate(ordered) if n % _TEST_EVERY), seen, TRAIN_WINDOWS)
    test = _windows(ordered[::_TEST_EVERY], seen, TEST_WINDOWS)
    return _array(train), _array(test)


def _windows(files: Sequence[bytes] | Iterator[bytes], seen: set[bytes], most: int) -> list[bytes]:
    """The windows of files that are not in `seen`, which they join."""
    found: list[bytes] = []
    for file in files:
        taken = 0
        for start in range(0, len(file) - LENGTH, LENGTH + 1):
            window = file[start : start + LENGTH + 1]
            if taken < _PER_FILE and window not in seen:
                seen.add(window)
                found.append(window)
                taken += 1
        if len(found) >= most:
            break
    return found[:most]


def _array(windows: list[bytes]) -> Tokens:
    return np.frombuffer(b"".join(windows), np.uint8).reshape(-1, LENGTH + 1).astype(np.int64)


def _language(name: str) -> tuple[Tokens, Tokens]:
    root = Path(sysconfig.get_path("stdlib")) if name == "code-python" else fetch.folder(name)
    paths = [path for path in root.rglob(f"*{LANGUAGES[name]}") if "site-packages" not in path.parts]
    train, test = cut([path.read_bytes() for path in paths if path.is_file()])
    if not len(train) or not len(test):
        raise DatasetError(
            f"{root} holds {len(paths)} files *{LANGUAGES[name]}, expected enough for {name}; "
            f"run `python -m unlearning fetch {name}`"
        )
    return train, test
