"""docs/architecture.md names every folder and module, so that a newcomer finds them, and none that is not there."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "architecture.md").read_text()
NAMED = set(re.findall(r"[a-z_]+", " ".join(re.findall(r"`([^`]+)`", TEXT))))
#: What Django or Python wants to be there, and what the name says by itself.
PLAIN = {"__init__", "__main__", "apps", "urls", "errors", "migrations"}
#: Folders whose single modules are listed too.
LISTED = ("ledger", "ledger/statements", "ledger/workflow", "unlearning", "prover_worker", "prover_worker/audit")


def tracked() -> list[Path]:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True)
    return [Path(name) for name in done.stdout.split("\0") if name]


def test_every_module_is_named() -> None:
    modules = [path for path in tracked() if path.suffix == ".py" and str(path.parent) in LISTED]
    assert len(modules) > 100
    assert [str(path) for path in modules if path.stem not in NAMED | PLAIN] == []


def test_every_folder_is_named() -> None:
    packages = ("ledger", "unlearning", "prover_worker", "tests", "docs")
    folders = {path.parts[:2] for path in tracked() if path.parts[0] in packages and len(path.parts) > 2}
    folders |= {path.parts[:1] for path in tracked() if len(path.parts) > 1 and not path.parts[0].startswith(".")}
    mirrored = {("tests", name) for name in packages} | {("docs", "results"), ("docs", "images")}
    assert sorted("/".join(one) for one in folders - mirrored if one[-1] not in NAMED | PLAIN) == []


def test_what_is_named_is_there() -> None:
    """Paths, and the modules of the tables about one folder."""
    paths = re.findall(r"`((?:ledger|unlearning|prover_worker|docker|tests|docs)/[a-z_/]+(?:\.py)?)`", TEXT)
    assert len(paths) > 20
    assert [path for path in paths if not (ROOT / path).exists()] == []
    tables = re.findall(r"Inside `([a-z_/]+)`:\n\n((?:\|.*\n)+)", TEXT)
    assert len(tables) == 4
    for folder, table in tables:
        first = " ".join(row.split("|")[1] for row in table.splitlines()[2:])
        modules = re.findall(r"`([a-z_]+)`", first)
        known = {path.stem for path in (ROOT / folder).iterdir()}
        assert [name for name in modules if name not in known] == [], folder


def test_the_layers_are_those_that_are_checked() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (checked,) = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    (said,) = re.findall(r"upper layers import lower ones: ([^.]+)\.", TEXT)
    assert [set(re.split(r",\s+", layer)) for layer in re.split(r"\s+→\s+", said)] == [
        set(layer.replace("ledger.", "").split(" | ")) for layer in checked
    ]
