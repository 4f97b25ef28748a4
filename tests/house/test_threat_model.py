"""Every threat in docs/threat-model.md names a test in which it is tried, and every such test exists."""

from __future__ import annotations

import re
from pathlib import Path

from prover_worker import adversary

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "threat-model.md").read_text()
SOURCES = {path: path.read_text() for path in (ROOT / "tests").rglob("test_*.py")}


def missing(text: str) -> list[str]:
    """What `text` calls a test and is none: files below tests/, functions and classes in them, modes of --cheat."""
    everything = "\n".join(SOURCES.values())
    files = re.findall(r"`((?:[a-z_]+/)*test_[a-z_]+\.py)`", text)
    names = re.findall(r"`((?:Test[A-Z]\w*|test_\w+))`", text)
    modes = [mode for mode in re.findall(r"`--cheat (\w+)`", text) if mode not in {"MODE", "all"}]
    known = [str(path.relative_to(ROOT / "tests")) for path in SOURCES]
    gone = [file for file in files if file not in known and not ("/" not in file and has(known, file))]
    gone += [name for name in names if not re.search(rf"(def|class) {name}\b", everything)]
    return gone + [mode for mode in modes if mode not in adversary.CHEATS]


def has(known: list[str], name: str) -> bool:
    return any(path.endswith(f"/{name}") for path in known)


def test_every_named_test_exists() -> None:
    assert missing(TEXT) == []
    assert missing("`ledger/test_nothing.py`, `test_nothing_at_all`, `TestNothing`, `--cheat politely`") == [
        "ledger/test_nothing.py", "test_nothing_at_all", "TestNothing", "politely"
    ]  # fmt: skip


def test_every_threat_in_a_table_is_tried() -> None:
    rows = re.findall(r"^\| (?!attempt)([^|]+) \|[^|]+\| ([^|]+) \|$", TEXT, re.MULTILINE)
    assert len(rows) > 100
    assert [threat for threat, shown in rows if not re.search(r"`[^`]*(test_|Test|--cheat )[^`]*`", shown)] == []
    for section in (
        "client",
        "Curious provider",
        "Dishonest provider",
        "Insider",
        "Thief",
        "Network",
        "Dependencies",
    ):
        assert re.search(rf"^## .*{section}", TEXT, re.MULTILINE), section
