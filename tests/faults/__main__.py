"""`python -m tests.faults [OPTIONS OF PYTEST]`: every fault, then one JSON line; status 1 unless all survived."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.faults.tally import TALLY


def main() -> int:
    """Run everything in this folder, one after the other."""
    folder = str(Path(__file__).parent)
    given = sys.argv[1:] or [folder]
    options = ["-m", "faults", "-p", "no:cacheprovider", "-p", "no:xdist", "-q", "-rA"]
    try:
        status: int = pytest.main([*options, *given])
    except Warning as left:  # of what a failed test left open; they are errors here
        print(left)
        status = 1
    missing = sorted(set(TALLY.tried) - set(TALLY.survived))
    if missing:
        print("not survived:", *missing, sep="\n  ")
    print(TALLY.line())
    return 1 if status or missing or TALLY.lost or not TALLY.tried else 0


if __name__ == "__main__":
    sys.exit(main())
