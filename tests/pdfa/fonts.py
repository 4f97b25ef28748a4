"""Fonts (6.2.11): embedded, whole, as wide as they say, and every glyph with a meaning."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

from fontTools.cffLib import CFFFontSet
from fontTools.ttLib import TTFont
from pikepdf import Array, Dictionary, Name, Stream

_FILES: Final = ("/FontFile", "/FontFile2", "/FontFile3")
_IDENTITY: Final = (Name("/Identity-H"), Name("/Identity-V"))
_PRIVATE: Final = re.compile(
    rb"<(?:E[0-9A-F]{3}|F[0-8][0-9A-F]{2}|DB[8-9A-F][0-9A-F]D[C-F][0-9A-F]{2})>\s*$", re.MULTILINE | re.IGNORECASE
)
_NOTHING: Final = re.compile(rb"<(0000|FEFF|FFFE)>\s*$", re.MULTILINE | re.IGNORECASE)


def look(font: Any) -> Iterator[str]:
    """What is wrong with one font."""
    name, subtype = str(font.get("/BaseFont", "a font")), font.get("/Subtype")
    if subtype in (Name.CIDFontType0, Name.CIDFontType2):
        yield from _descendant(font, name, subtype)
        return
    if "/ToUnicode" not in font:
        yield f"6.2.11.7.2: {name} has no ToUnicode"
    else:
        meaning = font.ToUnicode.read_bytes()
        if _NOTHING.search(meaning):
            yield f"6.2.11.7.2: {name} maps a glyph to no character"
        if _PRIVATE.search(meaning):
            yield f"6.2.11.7.3: {name} maps a glyph to a character that means nothing in public"
    if subtype == Name.Type0:
        yield from _composite(font, name)
    elif subtype != Name.Type3:
        yield from _embedded(font, name)
        if not {"/FirstChar", "/LastChar", "/Widths"} <= set(font.keys()):
            yield f"6.2.11.2: {name} does not say how wide its characters are"


def _composite(font: Any, name: str) -> Iterator[str]:
    encoding = font.get("/Encoding")
    if encoding in _IDENTITY:
        yield from _as_wide_as_it_says(font, name)
        return
    if not isinstance(encoding, Stream):
        yield f"6.2.11.3.3: {name} has an encoding that is not embedded"
        return
    (below,) = font.DescendantFonts
    for key in ("/Registry", "/Ordering"):
        if str(encoding.CIDSystemInfo[key]) != str(below.CIDSystemInfo[key]):
            yield f"6.2.11.3.1: {name} and its encoding are of other collections"
    mode = re.search(rb"/WMode\s+(\d)", encoding.read_bytes())
    if (int(mode[1]) if mode else 0) != int(encoding.get("/WMode", 0)):
        yield f"6.2.11.3.3: {name} has an encoding that does not know in which direction it writes"


def _as_wide_as_it_says(font: Any, name: str) -> Iterator[str]:
    """Of glyphs that mean something: a subset has others too, which these are put together from."""
    below = font.DescendantFonts[0]
    program = _program(below.get("/FontDescriptor", Dictionary()))
    if program is None or "/ToUnicode" not in font:
        return
    try:
        widths = _widths(program, truetype=below.get("/Subtype") == Name.CIDFontType2)
    except Exception:  # noqa: BLE001 - `_descendant` tells
        return
    said, default = _said(below), float(below.get("/DW", 1000))
    for glyph in sorted(_mapped(font.ToUnicode.read_bytes()) & set(widths)):
        width, wanted = widths[glyph], said.get(glyph, default)
        if abs(width - wanted) > 1:
            yield f"6.2.11.5: {name} has glyph {glyph} {width:.1f} wide, and says {wanted}"
            return


def _mapped(meaning: bytes) -> set[int]:
    """The codes that a ToUnicode gives a meaning (bfchar, bfrange; codes of two bytes)."""
    found = {
        int(code, 16) for code in re.findall(rb"^<([0-9A-Fa-f]{4})> *<[0-9A-Fa-f]+>\s*$", meaning, re.MULTILINE)
    }
    for first, last in re.findall(rb"^<([0-9A-Fa-f]{4})> *<([0-9A-Fa-f]{4})> *[<\[]", meaning, re.MULTILINE):
        found |= set(range(int(first, 16), int(last, 16) + 1))
    return found


def _descendant(font: Any, name: str, subtype: Any) -> Iterator[str]:
    if subtype == Name.CIDFontType2 and "/CIDToGIDMap" not in font:
        yield f"6.2.11.3.2: {name} has no CIDToGIDMap"
    yield from _embedded(font, name)
    program = _program(font.get("/FontDescriptor", Dictionary()))
    if program is None:
        return
    try:
        widths = _widths(program, truetype=subtype == Name.CIDFontType2)
    except Exception as error:  # noqa: BLE001 - whatever fontTools stumbles over
        yield f"6.2.11.4: {name} is no font: {error!r:.80}"
        return
    listed = font.FontDescriptor.get("/CIDSet")
    if listed is not None:
        bits = listed.read_bytes()
        if any(glyph // 8 >= len(bits) or not bits[glyph // 8] >> (7 - glyph % 8) & 1 for glyph in widths):
            yield f"6.2.11.4.2: {name} has glyphs that its list of glyphs leaves out"


def _embedded(font: Any, name: str) -> Iterator[str]:
    if _program(font.get("/FontDescriptor", Dictionary())) is None:
        yield f"6.2.11.4: {name} is not embedded"


def _program(descriptor: Any) -> bytes | None:
    found = [descriptor[key] for key in _FILES if key in descriptor]
    return found[0].read_bytes() if found else None


@lru_cache(maxsize=8)
def _widths(program: bytes, *, truetype: bool) -> dict[int, float]:
    """The same font is looked at again and again where tests break one thing after another."""
    return _truetype(program) if truetype else _cff(program)


def _truetype(program: bytes) -> dict[int, float]:
    """Width of each glyph in thousandths of the font's size. Raises what fontTools does."""
    font = TTFont(io.BytesIO(program), lazy=True)
    widths, unit = font["hmtx"].metrics, font["head"].unitsPerEm
    return {number: 1000 * widths[name][0] / unit for number, name in enumerate(font.getGlyphOrder())}


def _cff(program: bytes) -> dict[int, float]:
    """The same of a CFF font with CIDs (CIDFontType0C). Raises what fontTools does."""
    found = CFFFontSet()
    found.decompile(io.BytesIO(program), None)
    (font,) = found.values()
    unit = 1000 * font.FontMatrix[0] if font.rawDict.get("FontMatrix") else 1.0
    widths = {}
    for name in font.charset:
        glyph = font.CharStrings[name]
        glyph.draw(_Nowhere())
        widths[0 if name == ".notdef" else int(name.removeprefix("cid"))] = glyph.width * unit
    return widths


class _Nowhere:
    """A pen that draws nothing: a glyph knows its width after it was drawn."""

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **kwargs: None


def _said(font: Any) -> dict[int, float]:
    """The widths that the file declares, by CID (ISO 32000-1, 9.7.4.3)."""
    found: dict[int, float] = {}
    left = list(font.get("/W", Array()))
    while left:
        first = int(left.pop(0))
        if isinstance(left[0], Array):
            found |= {first + number: float(width) for number, width in enumerate(left.pop(0))}
        else:
            last, width = int(left.pop(0)), float(left.pop(0))
            found |= dict.fromkeys(range(first, last + 1), width)
    return found
