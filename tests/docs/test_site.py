"""The documentation's site is made without a warning, holds what it must, and fetches nothing when it is read."""

from __future__ import annotations

import html
import re
import shutil
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml
from sphinx.cmd.build import main

ROOT = Path(__file__).resolve().parents[2]
#: MyST still asks Sphinx 9 for what Sphinx 11 will not have; that is no warning about our pages.
pytestmark = pytest.mark.filterwarnings(
    "ignore::PendingDeprecationWarning:myst_parser", "ignore::PendingDeprecationWarning:furo"
)
OPTIONS = "--quiet --fail-on-warning --keep-going --conf-dir docs/site"


def make(source: Path, target: Path, *more: str) -> int:
    """What `make docs` calls."""
    options = [str(ROOT / word) if word == "docs/site" else word for word in OPTIONS.split()]
    return main([*options, *more, str(source), str(target)])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    assert f"sphinx-build {OPTIONS} docs " in (ROOT / "Makefile").read_text()
    target = tmp_path_factory.mktemp("site")
    assert make(ROOT / "docs", target, "-d", str(tmp_path_factory.mktemp("trees"))) == 0
    return target


def text(page: Path) -> str:
    return html.unescape(re.sub(r"<[^>]+>", "", page.read_text()))


def test_every_page_is_there(site: Path) -> None:
    sources = [path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md")]
    assert [str(path) for path in sources if not (site / path.with_suffix(".html")).exists()] == []
    for name in ("changelog", "contributing", "security"):
        words = (ROOT / f"{name.upper()}.md").read_text().split("\n")[0].removeprefix("# ")
        assert words in text(site / f"{name}.html")


def test_references_name_all_of_the_code(site: Path) -> None:
    from django.core.management import get_commands

    from ledger.statements.predicates import PREDICATES

    said = text(site / "predicates.html")
    assert [uri for uri in PREDICATES if uri not in said] == []
    assert "sha256" in said
    said = text(site / "commands.html")
    mine = [name for name, app in get_commands().items() if app == "ledger"]
    assert [name for name in mine if f"usage: manage.py {name}" not in said] == []
    assert "usage: unlearning-agent keys rotate" in said
    said = text(site / "api.html")
    paths = yaml.load((ROOT / "docs" / "openapi.yaml").read_text(), yaml.CSafeLoader)["paths"]
    names = [f"{method.upper()} {path}" for path, methods in paths.items() for method in methods]
    assert len(names) > 90
    assert [name for name in names if name not in said] == []
    assert "weights per proof" in text(site / "circuits.html")


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    """All scripts, styles, fonts and images are files of the site."""
    loaded = re.compile(r"<(?:script|img|iframe|source)\b[^>]*\bsrc=\"([^\"]+)\"|<link\b[^>]*\bhref=\"([^\"]+)\"")
    wanted = {
        (page.parent / unquote((one or other).split("?")[0].split("#")[0])).resolve()
        for page in site.rglob("*.html")
        for one, other in loaded.findall(page.read_text())
    }
    assert len(wanted) > 20
    assert [path for path in wanted if not path.exists()] == []
    for style in site.rglob("*.css"):
        assert re.findall(r"url\(['\"]?(?:https?:)?//|@import ['\"]?(?:https?:)?//", style.read_text()) == [], style


def test_a_broken_link_is_noticed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The attacks on a page: a file that is not there, an anchor that is not there, a page that nobody reaches."""
    shutil.copytree(ROOT / "docs" / "site", tmp_path / "site", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "index.md").write_text("# One\n\n[gone](gone.md) and [no such place](#nowhere)\n")
    (tmp_path / "alone.md").write_text("# Two\n")
    assert make(tmp_path, tmp_path / "made") != 0
    warned = capfd.readouterr().err
    for words in ("'gone.md'", "'nowhere'", "alone.md: WARNING: document isn't included in any toctree"):
        assert words in warned
