"""Tags (6.7): a tree of known elements, every mark of a page in it, figures with words, languages that are some."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pikepdf
from pikepdf import Array, Dictionary, Name, Pdf

from tests.pdfa.document import LANGUAGE

#: ISO 32000-1, 14.8.4.
_STANDARD: Final = {
    "/Document", "/Part", "/Art", "/Sect", "/Div", "/BlockQuote", "/Caption", "/TOC", "/TOCI", "/Index",
    "/NonStruct", "/Private", "/P", "/H", "/H1", "/H2", "/H3", "/H4", "/H5", "/H6", "/L", "/LI", "/Lbl", "/LBody",
    "/Table", "/TR", "/TH", "/TD", "/THead", "/TBody", "/TFoot", "/Span", "/Quote", "/Note", "/Reference",
    "/BibEntry", "/Code",
    "/Link", "/Annot", "/Ruby", "/RB", "/RT", "/RP", "/Warichu", "/WT", "/WP", "/Figure", "/Formula", "/Form",
}  # fmt: skip


def look(pdf: Pdf) -> Iterator[str]:
    """What is wrong with the tree."""
    root = pdf.Root.get("/StructTreeRoot")
    if root is None:
        yield "6.7.3: there is no structure"
        return
    roles = {str(key): str(value) for key, value in root.get("/RoleMap", Dictionary()).items()}
    for name in roles:
        if name in _STANDARD:
            yield f"6.7.3.4: {name}, which everybody knows, is given another meaning"
    for one in pdf.objects:
        if isinstance(one, Dictionary) and one.get("/Type", Name.StructElem) == Name.StructElem and "/P" in one:
            yield from _element(one, roles)
    yield from _parents(pdf, root)


def _element(one: Any, roles: dict[str, str]) -> Iterator[str]:
    kind = str(one.get("/S", ""))
    for _ in range(len(roles) + 1):
        kind = roles.get(kind, kind) if kind not in _STANDARD else kind
    if kind and kind not in _STANDARD:
        yield f"6.7.3.4: the structure has {kind}, which is mapped to nothing known"
    if kind == "/Figure" and not (str(one.get("/Alt", "")) or str(one.get("/ActualText", ""))):
        yield "6.7.3: a figure has no alternative text"
    if "/Lang" in one and not LANGUAGE.fullmatch(str(one.Lang)):
        yield f"6.7.4: an element is in {str(one.Lang)!r}, which is no language"


def _parents(pdf: Pdf, root: Any) -> Iterator[str]:
    """From each mark on a page to its element: the way that a screen reader goes (ISO 32000-1, 14.7.4.4)."""
    found = dict(_numbers(root.get("/ParentTree", Dictionary())))
    for number, page in enumerate(pdf.pages, 1):
        marks = set(_marks(page))
        above = found.get(int(page.obj.get("/StructParents", -1)), Array())
        if any(mark >= len(above) or not isinstance(above[mark], Dictionary) for mark in marks):
            yield f"6.7.3: page {number} has marks that no element of the structure holds"


def _numbers(node: Any) -> Iterator[tuple[int, Any]]:
    said = list(node.get("/Nums", Array()))
    yield from zip(map(int, said[::2]), said[1::2], strict=True)
    for kid in node.get("/Kids", Array()):
        yield from _numbers(kid)


def _marks(page: pikepdf.Page) -> Iterator[int]:
    for operands, operator in pikepdf.parse_content_stream(page, "BDC"):
        if str(operator) == "BDC" and isinstance(operands[1], Dictionary) and "/MCID" in operands[1]:
            yield int(operands[1].MCID)
