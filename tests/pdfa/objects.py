"""Objects one by one: streams, annotations, actions, images, graphics states, and how large anything may be."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final

import pikepdf
from pikepdf import Array, Dictionary, Name, Pdf, Stream

from tests.pdfa import colours, fonts
from tests.pdfa.pages import INTENTS

_FILTERS: Final = {
    "/ASCIIHexDecode", "/ASCII85Decode", "/FlateDecode", "/RunLengthDecode", "/CCITTFaxDecode", "/JBIG2Decode",
    "/DCTDecode", "/JPXDecode",
}  # fmt: skip
_BLEND_MODES: Final = {
    "/Normal", "/Compatible", "/Multiply", "/Screen", "/Overlay", "/Darken", "/Lighten", "/ColorDodge",
    "/ColorBurn", "/HardLight", "/SoftLight", "/Difference", "/Exclusion", "/Hue", "/Saturation", "/Color",
    "/Luminosity",
}  # fmt: skip
_ACTIONS: Final = {"/GoTo", "/GoToR", "/GoToE", "/Thread", "/URI", "/SubmitForm", "/Named"}
_NAMED: Final = {"/NextPage", "/PrevPage", "/FirstPage", "/LastPage"}
_ANNOTATIONS: Final = {
    "/Text", "/Link", "/FreeText", "/Line", "/Square", "/Circle", "/Polygon", "/PolyLine", "/Highlight",
    "/Underline", "/Squiggly", "/StrikeOut", "/Stamp", "/Caret", "/Ink", "/Popup", "/FileAttachment", "/Widget",
    "/PrinterMark",
    "/TrapNet", "/Watermark", "/Redact",
}  # fmt: skip


def look(pdf: Pdf) -> Iterator[str]:
    """What is wrong with any object of the file, wherever it is used."""
    meant = colours.device(pdf)
    for one in pdf.objects:
        for held in _within(one):
            if isinstance(held, Stream):
                yield from _stream(held)
            if isinstance(held, Dictionary | Stream):
                yield from _dictionary(held, meant)
            elif isinstance(held, Array):
                yield from colours.space(held, meant)
            else:
                yield from _limits(held)


def _limits(held: Any) -> Iterator[str]:
    """What a reader need not be able to hold."""
    if isinstance(held, pikepdf.String) and len(bytes(held)) > 32_767:
        yield "6.1.13: a string has more than 32767 bytes"
    elif isinstance(held, Name) and len(str(held).encode()) > 128:
        yield "6.1.13: a name has more than 127 bytes"
    elif isinstance(held, int) and not -(2**31) <= held < 2**31:
        yield f"6.1.13: there is the number {held}, beyond 32 bits"
    elif isinstance(held, Decimal) and abs(held) > Decimal("3.403e38"):
        yield f"6.1.13: there is the number {held:.3e}"


def _within(value: Any, depth: int = 0) -> Iterator[Any]:
    """An object and all direct ones in it."""
    yield value
    if depth > 50:
        return
    if isinstance(value, Array):
        held = list(value)
    else:
        held = [value[key] for key in value.keys()] if isinstance(value, Dictionary | Stream) else []  # noqa: SIM118
    for one in held:
        if not getattr(one, "is_indirect", False):
            yield from _within(one, depth + 1)


def _stream(stream: Stream) -> Iterator[str]:
    filters = stream.get("/Filter", Array())
    for one in [filters] if isinstance(filters, Name) else list(filters):
        if str(one) not in _FILTERS:
            yield f"6.1.7.2: a stream is filtered by {one}"
    for key in ("/F", "/FFilter", "/FDecodeParms"):
        if key in stream:
            yield "6.1.7.1: a stream's bytes are in another file"
    if stream.get("/Subtype") == Name.Image:
        yield from _image(stream)
    if (
        stream.get("/Subtype") == Name.PS
        or "/PS" in stream
        or "/Ref" in stream
        or stream.get("/Subtype2") == Name.PS
    ):
        yield "6.2.9: a form is PostScript or lies in another file"


def _image(image: Stream) -> Iterator[str]:
    if "/Alternates" in image or "/OPI" in image:
        yield "6.2.8: an image has alternates"
    if image.get("/Interpolate", False):
        yield "6.2.8: an image is interpolated"
    if image.get("/BitsPerComponent", 1) not in (1, 2, 4, 8, 16):
        yield f"6.2.8: an image has {image.BitsPerComponent} bits per component"
    if str(image.get("/Intent", "/Perceptual")) not in INTENTS:
        yield f"6.2.6: an image wants the rendering intent {image.Intent}"


def _dictionary(held: Any, meant: str) -> Iterator[str]:
    kind, action = held.get("/Type"), held.get("/S")
    if kind == Name.Font:
        yield from fonts.look(held)
    if kind == Name.Annot or "/Annots" in held:
        yield from _annotations(held)
    if kind == Name.Action or (isinstance(action, Name) and {"/JS", "/URI", "/N", "/D", "/F"} & set(held.keys())):
        yield from _action(held, str(action))
    if kind == Name.ExtGState or "/BM" in held:
        yield from _state(held)
    if held.get("/FT") is not None and {"/A", "/AA"} & set(held.keys()):
        yield "6.4.1: a field of a form has actions"
    for key in ("/ColorSpace", "/CS"):
        name = held.get(key)
        if isinstance(name, Name) and colours.meaningless(name, meant):
            yield f"6.2.4.3: {name} is used, which the output intent gives no meaning"


def _annotations(held: Any) -> Iterator[str]:
    for one in held.get("/Annots", [held]):
        kind, flags = one.get("/Subtype"), int(one.get("/F", 0))
        if str(kind) not in _ANNOTATIONS:
            yield f"6.3.1: there is an annotation of kind {kind}"
        if kind != Name.Popup and (not flags & 4 or flags & (1 | 2 | 32 | 256)):
            yield "6.3.2: an annotation is not printed, or hidden"
        if kind not in (Name.Popup, Name.Link) and "/AP" not in one:
            yield "6.3.3: an annotation has no looks"
        if set(one.get("/AP", Dictionary()).keys()) - {"/N"}:
            yield "6.3.3: an annotation looks otherwise when it is touched"
        if kind == Name.Widget and {"/A", "/AA"} & set(one.keys()):
            yield "6.4.1: a field of a form has actions"


def _action(action: Any, kind: str) -> Iterator[str]:
    if kind.startswith("/") and action.get("/Type") in (None, Name.Action) and kind not in _ACTIONS:
        if kind in ("/D", "/Span", "/GTS_PDFA1") or "/K" in action or "/Pg" in action:
            return  # no action: a page label, a structure element, an output intent
        yield f"6.5.1: there is an action {kind}"
    if kind == "/Named" and str(action.get("/N")) not in _NAMED:
        yield f"6.5.1: there is a named action {action.get('/N')}"


def _state(state: Any) -> Iterator[str]:
    if "/TR" in state or state.get("/TR2", Name.Default) != Name.Default:
        yield "6.2.5: a graphics state has a transfer function"
    if "/HTP" in state:
        yield "6.2.5: a graphics state shifts its halftone"
    half = state.get("/HT", Name.Default)
    if isinstance(half, Dictionary | Stream) and (
        half.get("/HalftoneType") not in (1, 5) or "/HalftoneName" in half
    ):
        yield "6.2.5: a graphics state has a halftone of a kind of its own"
    if str(state.get("/RI", "/Perceptual")) not in INTENTS:
        yield f"6.2.6: a graphics state wants the rendering intent {state.RI}"
    modes = state.get("/BM", Name.Normal)
    for mode in [modes] if isinstance(modes, Name) else list(modes):
        if str(mode) not in _BLEND_MODES:
            yield f"6.2.10: there is a blend mode {mode}"
