"""`python -m tests.fuzzing.one TARGET FOLDER SECONDS`: one target, until the time is over or something is found."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["ledger", "prover_worker", "unlearning"]):
    from tests.fuzzing.targets import TARGETS, attempt


def main(name: str, folder: Path, seconds: int) -> None:
    """Does not return."""
    target, corpus = TARGETS[name], folder / name
    corpus.mkdir(parents=True, exist_ok=True)
    for seed in target.seeds():
        (corpus / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)
    flags = [f"-max_total_time={seconds}", f"-artifact_prefix={corpus}-", "-max_len=100000", "-verbosity=0"]
    atheris.Setup([sys.argv[0], *flags, str(corpus)], lambda data: attempt(target, data))
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
