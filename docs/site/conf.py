"""How the documentation becomes a site: `make docs`. Neither making nor reading it fetches anything."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

project = "unlearning-ledger"
release = tomllib.loads((HERE.parents[1] / "pyproject.toml").read_text())["project"]["version"]

extensions = ["myst_parser", "pages"]
source_suffix = {".md": "markdown"}
root_doc = "index"
exclude_patterns = ["site"]
myst_heading_anchors = 4  # the anchors that Markdown readers elsewhere make, too
highlight_language = "text"  # of what is set in by four blanks; commands and programs say what they are

html_theme = "furo"
html_title = f"{project} {release}"
html_show_sphinx = html_show_copyright = False
html_copy_source = False
html_show_sourcelink = False
