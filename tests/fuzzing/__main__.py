"""`make fuzz SECONDS=60`: each target for so long, with atheris (libFuzzer). What it finds stays under var/fuzz.

The corpus begins with real documents and grows from one run to the next; a finding is written out beside it as
`TARGET-crash-…`. Exit status 1 if there is any.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from tests.fuzzing.targets import TARGETS


def main() -> int:
    """Each target in a process of its own, which libFuzzer ends."""
    parser = argparse.ArgumentParser(description="Feed readers with anything.")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--target", action="append", choices=list(TARGETS), help="default: all")
    parser.add_argument("--folder", type=Path, default=Path("var/fuzz"))
    options = parser.parse_args()
    names = options.target or list(TARGETS)
    found = []
    for name in names:
        print(f"fuzzing {name} for {options.seconds} s", flush=True)
        command = [sys.executable, "-m", "tests.fuzzing.one", name, str(options.folder), str(options.seconds)]
        if subprocess.run(command, check=False).returncode != 0:
            found.append(name)
    print(f"findings in: {', '.join(found)}" if found else f"no findings in {', '.join(names)}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
