"""Pages and whatever else has a stream of operators: forms, patterns, glyphs that are drawn."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pikepdf
from pikepdf import Array, Dictionary, Name, Pdf, Stream, String

from tests.pdfa import colours

_SHOWS: Final = {"Tj", "TJ", "'", '"', "Do", "sh", "f", "F", "f*", "B", "B*", "b", "b*", "S", "s", "INLINE IMAGE"}
#: ISO 32000-1, annex A.
_OPERATORS: Final = _SHOWS | {
    "BDC", "BMC", "BT", "BX", "c", "cm", "CS", "cs", "d", "d0", "d1", "DP", "EMC", "ET", "EX", "G", "g", "gs", "h",
    "i", "j", "J", "K", "k", "l", "M", "m", "MP", "n", "q", "Q", "re", "RG", "rg", "ri", "SC", "sc", "SCN", "scn",
    "T*", "Tc", "Td", "TD", "Tf", "TL", "Tm", "Tr", "Ts", "Tw", "Tz", "v", "w", "W", "W*", "y",
}  # fmt: skip
_DEVICE: Final = {"rg": "/DeviceRGB", "RG": "/DeviceRGB", "k": "/DeviceCMYK", "K": "/DeviceCMYK"}
INTENTS: Final = {"/RelativeColorimetric", "/AbsoluteColorimetric", "/Perceptual", "/Saturation"}
_LEAST, _MOST = 3, 14_400


def look(pdf: Pdf) -> Iterator[str]:
    """What is wrong with them."""
    meant = colours.device(pdf)
    for number, page in enumerate(pdf.pages, 1):
        yield from _page(page.obj, f"page {number}")
        yield from _content(page, f"page {number}", meant, tagged=True)
    for one in pdf.objects:
        if isinstance(one, Stream) and (one.get("/Subtype") == Name.Form or one.get("/PatternType") == 1):
            yield from _content(one, "a form or pattern", meant, tagged=False)
        elif isinstance(one, Dictionary) and one.get("/Subtype") == Name.Type3:
            for glyph in one.get("/CharProcs", Dictionary()).values():
                yield from _content(glyph, "a glyph", meant, tagged=False)


def _page(page: Any, where: str) -> Iterator[str]:
    if "/AA" in page:
        yield f"6.5.2: {where} has actions of its own"
    if "/PresSteps" in page:
        yield f"6.10: {where} is a presentation"
    for name in ("/MediaBox", "/CropBox", "/TrimBox", "/ArtBox", "/BleedBox"):
        left, bottom, right, top = map(float, page.get(name, (0, 0, _LEAST, _LEAST)))
        if not all(_LEAST <= abs(side) <= _MOST for side in (right - left, top - bottom)):
            yield f"6.1.13: {where} is of no size that a reader has to show"


def _content(held: Any, where: str, meant: str, *, tagged: bool) -> Iterator[str]:
    marks = saved = 0
    for operands, operator in pikepdf.parse_content_stream(held):
        name = str(operator)
        if name in ("BDC", "BMC"):
            marks += 1
        elif name == "EMC":
            marks -= 1
        elif name in ("q", "Q"):
            saved += 1 if name == "q" else -1
            if saved > 28:
                yield f"6.1.13: {where} saves its state more than 28 deep"
        elif name not in _OPERATORS:
            yield f"6.2.2: {where} has the operator {name}, which there is not"
        elif tagged and name in _SHOWS and marks < 1:
            yield f"6.7.3: {where} shows something that is neither tagged nor an artefact"
        yield from _operands(operands, name, where, meant)


def _operands(operands: Any, name: str, where: str, meant: str) -> Iterator[str]:
    if name in _DEVICE and colours.meaningless(_DEVICE[name], meant):
        yield f"6.2.4.3: {where} uses {_DEVICE[name][1:]}, which the output intent gives no meaning"
    elif name in ("cs", "CS") and colours.meaningless(operands[0], meant):
        yield f"6.2.4.3: {where} uses {operands[0]}, which the output intent gives no meaning"
    elif name == "ri" and str(operands[0]) not in INTENTS:
        yield f"6.2.6: {where} wants the rendering intent {operands[0]}"
    elif name == "INLINE IMAGE":
        yield from _inline(operands[0], where, meant)
    elif name in ("Tj", "TJ", "'", '"') and any(map(_has_none, _texts(operands))):
        yield f"6.2.11.8: {where} shows a glyph for characters that a font does not have"


def _has_none(text: String) -> bool:
    """Whether glyph 0 is in it; every font of a report has codes of two bytes."""
    codes = bytes(text)
    return b"\0\0" in (codes[at : at + 2] for at in range(0, len(codes), 2))


def _inline(image: Any, where: str, meant: str) -> Iterator[str]:
    said = image.obj
    filters = said.get("/Filter", said.get("/F", Array()))
    names = {str(one) for one in ([filters] if isinstance(filters, Name) else filters)}
    if names & {"/LZW", "/LZWDecode", "/Crypt"}:
        yield f"6.1.10: {where} has an image that is filtered by LZW or Crypt"
    if said.get("/I", said.get("/Interpolate", False)):
        yield f"6.2.8: {where} has an image that is interpolated"
    space = str(said.get("/CS", said.get("/ColorSpace", "")))
    space = {"/RGB": "/DeviceRGB", "/CMYK": "/DeviceCMYK"}.get(space, space)
    if colours.meaningless(space, meant):
        yield f"6.2.4.3: {where} has an image in {space}, which the output intent gives no meaning"


def _texts(operands: Any) -> Iterator[String]:
    for one in operands:
        if isinstance(one, Array):
            yield from (part for part in one if isinstance(part, String))
        elif isinstance(one, String):
            yield one
