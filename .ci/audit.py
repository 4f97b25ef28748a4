"""Which pinned packages have published advisories: `make audit` asks pip-audit, and judges what it says.

pip-audit ends well when no package could be looked up, as none is known to be bad then. Here that is no success:

| exit status | meaning |
|---|---|
| 0 | every pinned package was looked up, none has an advisory |
| 1 | some have; they are named, with the versions that mend them |
| 3 | some or all could not be looked up (no network, or a mirror without advisories): nothing is known of them |
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
NAMED: Final = 5  # packages in a sentence; of more, the number


def judge(dependencies: list[dict[str, Any]]) -> tuple[int, list[str]]:
    """(exit status, lines to print) for pip-audit's `dependencies`."""
    known = [one for one in dependencies if "skip_reason" not in one]
    hit = [one for one in known if one["vulns"]]
    missed = sorted(one["name"] for one in dependencies if "skip_reason" in one)
    lines = [_line(one, advisory) for one in hit for advisory in one["vulns"]]
    if missed:
        names = ", ".join(missed[:NAMED]) + (", ..." if len(missed) > NAMED else "")
        lines.append(f"NOT AUDITED: {len(missed)} of {len(dependencies)} packages could not be looked up ({names})")
    if hit:
        return 1, lines
    return (3, lines) if missed or not known else (0, [f"{len(known)} packages looked up, no advisory"])


def _line(package: dict[str, Any], advisory: dict[str, Any]) -> str:
    mended = ", ".join(advisory["fix_versions"]) or "no version yet"
    return f"{package['name']} {package['version']}: {advisory['id']}, mended in {mended}"


def main(arguments: list[str]) -> int:
    """Run pip-audit on the lock file; `arguments` go to it, as `--vulnerability-service osv`."""
    command = [
        sys.executable, "-m", "pip_audit", "-r", str(ROOT / "requirements.lock"), "--require-hashes", "--no-deps",
        "--disable-pip", "--progress-spinner", "off", "-f", "json", *arguments,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        found = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        last = (done.stderr.strip() or "it said nothing").splitlines()[-1]
        sys.stdout.write(
            f"NOT AUDITED: the advisories could not be read ({last[:200]}); try again with a network\n"
        )
        return 3
    status, lines = judge(found)
    sys.stdout.write("\n".join(lines) + "\n")
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
