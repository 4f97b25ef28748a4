"""The commands that the documentation gives, as words.

Pages write commands in fences that say `sh` or `console`; in between, single commands in backquotes. Names in
capitals stand for something of the reader's own.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
_FENCE: Final = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_SHELLS: Final = {"sh", "console"}
#: Programs whose first words say what is done.
_DEPTH: Final = {"report": 1, "rotate_key": 1, "keys": 1}


@dataclass(frozen=True)
class Command:
    """One command: where it stands, and its words."""

    page: str
    words: tuple[str, ...]

    @property
    def program(self) -> str:
        """What is run, down to the last word that is no option and no argument: `manage.py report period`."""
        words = list(self.words)
        if words[0].startswith("python") and words[1] == "-m":
            words[:3] = [f"python -m {words[2]}"]
        elif words[1:2] == ["manage.py"]:
            words[:2] = ["manage.py"]
        words[0] = words[0].removeprefix(".venv/bin/")
        take = 1 + (
            len(words) > 1 and words[0] in {"manage.py", "unlearning-agent", "python -m unlearning", "make"}
        )
        while words[0] == "unlearning-agent" and words[1].startswith("-"):
            del words[1:3]
        take += _DEPTH.get(words[take - 1], 0)
        return " ".join(words[:take])

    @property
    def options(self) -> frozenset[str]:
        """Names of its options."""
        return frozenset(word for word in self.words if re.fullmatch(r"--?[a-zA-Z][\w-]*", word))

    @property
    def standing(self) -> frozenset[str]:
        """Those options that stand before the agent's command, and count for all of them."""
        own = len(self.program.split()) - 1
        words = [at for at, word in enumerate(self.words) if word in self.program.split()[-own:]] if own else [0]
        return frozenset(word for word in self.words[: words[0]] if word.startswith("--"))

    def __str__(self) -> str:
        """As in a message."""
        return f"{self.page}: {shlex.join(self.words)}"


def pages() -> list[Path]:
    """All pages for readers."""
    own = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")]
    return [*own, *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "docker").rglob("*.md"))]


def blocks(page: Path, *kinds: str) -> list[str]:
    """Texts of the page's fences of these kinds, as they would be typed."""
    found = [(len(indent), kind, text) for indent, kind, text in _FENCE.findall(page.read_text()) if kind in kinds]
    return ["".join(line[indent:] or "\n" for line in text.splitlines(True)) for indent, _, text in found]


#: Pages whose fences are one script each, which a test runs from beginning to end.
SCRIPTS: Final = {
    "docs/verify-by-hand.md": "tests/prover_worker/test_verifier.py",
    "docs/tutorial.md": "tests/test_end_to_end.py",
}


@cache
def commands() -> list[Command]:
    """All commands of the pages' fences, those of scripts aside."""
    return [
        Command(name, tuple(words))
        for page in pages()
        if (name := str(page.relative_to(ROOT))) not in SCRIPTS
        for block in blocks(page, *_SHELLS)
        for line in block.replace("\\\n", " ").splitlines()
        for words in _split(line)
    ]


@cache
def asides() -> list[Command]:
    """Commands in backquotes, in the middle of sentences and tables."""
    return [
        Command(str(page.relative_to(ROOT)), tuple(words))
        for page in pages()
        for text in re.findall(
            r"`((?:\.venv/bin/)?(?:python -m|python|manage\.py|unlearning-[a-z]+|make) [^`\n]+)`", page.read_text()
        )
        for words in _split(text.replace("\\|", "|"))
    ]


def _split(line: str) -> list[list[str]]:
    """The commands of a line: several where && stands, none where it only sets variables."""
    line = re.sub(r"^\$ ", "", line.strip())
    line = re.sub(r" \.\.\.(?=\s|$)", "", line)  # and what else is wanted
    lexer = shlex.shlex(line, posix=True, punctuation_chars="&<>")
    lexer.whitespace_split, lexer.commenters = True, "#"
    found: list[list[str]] = [[]]
    for word in lexer:
        if word in {"&&", "&"}:
            found.append([])
        elif found[-1] or not re.match(r"[A-Z_]+=", word):
            found[-1].append(word)
    return [words for words in found if words and words[0] not in {"export", "echo"}]
