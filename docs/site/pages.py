"""Sphinx extension: pages as files and as a site are the same texts, and this makes up for the differences.

- `<!-- made: NAME -->` becomes what `generated.py` makes of the code, so a reference cannot fall behind it.
- `<!-- text: FILE -->` becomes that file of the repository's first folder: the changelog, say.
- Links that lead out of docs/ become the files' names, because a site has no such pages.
- Decisions are reached by their list: a hundred of them would fill the navigation of every page.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import generated

if TYPE_CHECKING:
    from sphinx.application import Sphinx

DOCS: Final = Path(__file__).resolve().parents[1]
ROOT: Final = DOCS.parent

#: Files beside docs/ that are pages of the site all the same.
AT_HOME: Final = {f"{name.upper()}.md": f"{name}.md" for name in ("changelog", "contributing", "security")}
_MARK: Final = re.compile(r"^<!-- (made|text): (\S+) -->$", re.MULTILINE)
_LINK: Final = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\]]*\])+)\]\((?!\w+:)([^()\s#]+)(#[^()\s]*)?\)")
_ALONE: Final = "---\norphan: true\n---\n\n"  # no place in the navigation


def read(text: str, folder: Path) -> str:
    """A page's text for the site; its links are relative to `folder`."""

    def fill(found: re.Match[str]) -> str:
        if found[1] == "made":
            return str(getattr(generated, found[2].replace("-", "_"))())
        return _turn((ROOT / found[2]).read_text(), ROOT, folder)

    return _MARK.sub(fill, _turn(text, folder, folder))


def _turn(text: str, written_in: Path, shown_in: Path) -> str:
    def turn(found: re.Match[str]) -> str:
        words, path, anchor = found[1], found[2], found[3] or ""
        target = (written_in / path).resolve()
        if target.is_relative_to(DOCS) and target != DOCS:
            if target.is_dir():
                target /= "README.md"
            return f"[{words}]({_relative(target, shown_in)}{anchor})"
        name = str(target.relative_to(ROOT)) if target.is_relative_to(ROOT) else path
        if name in AT_HOME:
            return f"[{words}]({_relative(DOCS / AT_HOME[name], shown_in)}{anchor})"
        if not target.exists():
            return found[0]  # Sphinx says so
        return words if name in words else f"{words} (`{name}`)"

    return _LINK.sub(turn, text)


def _relative(target: Path, folder: Path) -> str:
    up = 0
    while not target.is_relative_to(folder):
        folder, up = folder.parent, up + 1
    return "../" * up + str(target.relative_to(folder))


def _source(app: Sphinx, page: str, source: list[str]) -> None:
    folder = (Path(app.srcdir) / page).parent
    alone = page.startswith("decisions/0")
    source[0] = (_ALONE if alone else "") + read(source[0], folder)


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.connect("source-read", _source)
    return {"parallel_read_safe": True}
