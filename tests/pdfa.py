"""What ISO 19005-3 (PDF/A-3) asks of a file at level A, as far as a reader of its objects can tell.

`problems` looks at objects, fonts, colours, actions, metadata, tags and attached files, clause by clause; each
complaint begins with the clause. `judged` asks veraPDF as well where it is installed. What only a renderer knows is
not looked at: whether glyph widths agree with the font program, and whether the order of the tags makes sense.
"""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any, Final

import pikepdf
from pikepdf import Array, Dictionary, Name, Pdf, Stream

_LANGUAGE: Final = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")
_MIME: Final = re.compile(r"[a-z0-9.+-]+/[a-z0-9.+-]+")
_RELATIONSHIPS: Final = {"/Source", "/Data", "/Alternative", "/Supplement", "/Unspecified"}
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
#: ISO 32000-1, 14.8.4.
_STRUCTURE: Final = {
    "/Document", "/Part", "/Art", "/Sect", "/Div", "/BlockQuote", "/Caption", "/TOC", "/TOCI", "/Index",
    "/NonStruct", "/Private", "/P", "/H", "/H1", "/H2", "/H3", "/H4", "/H5", "/H6", "/L", "/LI", "/Lbl", "/LBody",
    "/Table", "/TR", "/TH", "/TD", "/THead", "/TBody", "/TFoot", "/Span", "/Quote", "/Note", "/Reference",
    "/BibEntry", "/Code",
    "/Link", "/Annot", "/Ruby", "/RB", "/RT", "/RP", "/Warichu", "/WT", "/WP", "/Figure", "/Formula", "/Form",
}  # fmt: skip
_SHOWS: Final = {"Tj", "TJ", "'", '"', "Do", "sh", "f", "F", "f*", "B", "B*", "b", "b*", "S", "s", "INLINE IMAGE"}
_DEVICE: Final = {"rg": "RGB", "RG": "RGB", "k": "CMYK", "K": "CMYK"}


def judged(data: bytes) -> tuple[list[str], str]:
    """What is wrong, and who has looked: veraPDF too where it is installed."""
    found, who = problems(data), "own checks"
    if shutil.which("verapdf"):
        found, who = found + _verapdf(data), "veraPDF and own checks"
    return found, who


def problems(data: bytes) -> list[str]:
    """Every rule of PDF/A-3a that the file breaks, empty if none was found to be broken."""
    found = list(_bytes(data))
    try:
        pdf = Pdf.open(io.BytesIO(data), attempt_recovery=False)
    except pikepdf.PdfError as error:
        return [*found, f"6.1.1: the file cannot be read without repairs: {error}"]
    with pdf:
        found += [f"6.1.1: {warning}" for warning in pdf.check_pdf_syntax()]
        for look in (_trailer, _catalogue, _intent, _objects, _pages, _metadata, _structure, _files):
            found += look(pdf)
    return list(dict.fromkeys(found))


def _bytes(data: bytes) -> Iterator[str]:
    if not re.match(rb"%PDF-1\.[0-7]\r?\n%[\x80-\xff]{4,}", data):
        yield "6.1.2: the file does not begin with its version and a comment of four bytes above 127"
    if not re.search(rb"%%EOF(\r\n|\r|\n)?\Z", data):
        yield "6.1.3: something follows the end of the file"


def _trailer(pdf: Pdf) -> Iterator[str]:
    if "/ID" not in pdf.trailer:
        yield "6.1.3: the trailer has no ID"
    if "/Encrypt" in pdf.trailer:
        yield "6.1.3: the file is encrypted"


def _catalogue(pdf: Pdf) -> Iterator[str]:
    root = pdf.Root
    for key, clause in (("/AA", "6.5.2"), ("/Requirements", "6.11"), ("/Perms", "6.1.12")):
        if key in root:
            yield f"{clause}: the catalogue has {key}"
    names = root.get("/Names", Dictionary())
    for key, clause in (("/JavaScript", "6.5.1"), ("/AlternatePresentations", "6.10")):
        if key in names:
            yield f"{clause}: the names have {key}"
    form = root.get("/AcroForm", Dictionary())
    if "/XFA" in form or form.get("/NeedAppearances", False):
        yield "6.4: a form leaves its looks to the reader"
    if not root.get("/MarkInfo", Dictionary()).get("/Marked", False):
        yield "6.7.2: the file does not say that it is tagged"
    if not _LANGUAGE.fullmatch(str(root.get("/Lang", ""))):
        yield "6.7.4: the file has no language"


def _intent(pdf: Pdf) -> Iterator[str]:
    intents = [one for one in pdf.Root.get("/OutputIntents", Array()) if one.get("/S") == Name.GTS_PDFA1]
    if not intents or "/DestOutputProfile" not in intents[0]:
        yield "6.2.3: there is no output intent with a profile"
        return
    if len({one.DestOutputProfile.objgen for one in intents if "/DestOutputProfile" in one}) > 1:
        yield "6.2.3: output intents name several profiles"
    yield from _profile(intents[0].DestOutputProfile, "6.2.3")


def _profile(stream: Any, clause: str) -> Iterator[str]:
    """A colour profile (ICC.1:2010, 7.2): its size, signature, version, class, and number of components."""
    data = stream.read_bytes()
    space = {b"RGB ": 3, b"CMYK": 4, b"GRAY": 1, b"Lab ": 3}.get(data[16:20])
    if int.from_bytes(data[:4], "big") != len(data) or data[36:40] != b"acsp" or data[8] > 4 or not space:
        yield f"{clause}: a colour profile is none"
    elif data[12:16] not in (b"prtr", b"mntr", b"scnr", b"spac"):
        yield f"{clause}: a colour profile is of class {data[12:16]!r}"
    elif stream.get("/N") != space:
        yield f"{clause}: a colour profile has {space} components, its stream says {stream.get('/N')}"


def _device(pdf: Pdf) -> str:
    """The device colours that the output intent gives a meaning."""
    for one in pdf.Root.get("/OutputIntents", Array()):
        if "/DestOutputProfile" in one:
            return str(one.DestOutputProfile.read_bytes()[16:20].decode("latin-1").strip())
    return ""


def _objects(pdf: Pdf) -> Iterator[str]:
    for one in pdf.objects:
        for held in _within(one):
            if isinstance(held, Stream):
                yield from _stream(held)
            if isinstance(held, Dictionary | Stream):
                yield from _dictionary(held)
            elif isinstance(held, Array):
                yield from _array(held, _device(pdf))
            elif isinstance(held, pikepdf.String) and len(bytes(held)) > 32_767:
                yield "6.1.13: a string has more than 32767 bytes"


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
        if one in (Name.LZWDecode, Name.Crypt):
            yield f"6.1.7.2: a stream is filtered by {one}"
    for key in ("/F", "/FFilter", "/FDecodeParms"):
        if key in stream:
            yield "6.1.7.1: a stream's bytes are in another file"
    if stream.get("/Subtype") == Name.Image:
        if "/Alternates" in stream or "/OPI" in stream:
            yield "6.2.8: an image has alternates"
        if stream.get("/Interpolate", False):
            yield "6.2.8: an image is interpolated"
    if stream.get("/Subtype") == Name.PS or "/PS" in stream or "/Ref" in stream:
        yield "6.2.9: a form is PostScript or lies in another file"


def _dictionary(held: Any) -> Iterator[str]:
    kind, action = held.get("/Type"), held.get("/S")
    if kind == Name.Font:
        yield from _font(held)
    if kind == Name.Annot or "/Annots" in held:
        yield from _annotations(held)
    if kind == Name.Action or (isinstance(action, Name) and {"/JS", "/URI", "/N", "/D", "/F"} & set(held.keys())):
        yield from _action(held, str(action))
    if kind == Name.ExtGState or "/BM" in held:
        yield from _state(held)


def _array(held: Array, device: str) -> Iterator[str]:
    head = held[0] if len(held) else None
    if head == Name.ICCBased and isinstance(held[1], Stream):
        yield from _profile(held[1], "6.2.4.2")
    if head == Name.DeviceN and len(held[1]) > 32:
        yield "6.1.13: a colour space has more than 32 colorants"
    if head in (Name.Indexed, Name.Separation, Name.DeviceN):
        base = held[1] if head == Name.Indexed else held[2]
        if base in (Name.DeviceRGB, Name.DeviceCMYK) and str(base)[7:] != device:
            yield f"6.2.4.3: {base} is used, which the output intent gives no meaning"


def _font(font: Any) -> Iterator[str]:
    name, subtype = str(font.get("/BaseFont", "a font")), font.get("/Subtype")
    if subtype in (Name.CIDFontType0, Name.CIDFontType2):
        if subtype == Name.CIDFontType2 and "/CIDToGIDMap" not in font:
            yield f"6.2.11.3.2: {name} has no CIDToGIDMap"
        yield from _embedded(font, name)
        return
    if "/ToUnicode" not in font:
        yield f"6.2.11.7.2: {name} has no ToUnicode"
    elif re.search(rb"<(0000|FEFF|FFFE)>\s*$", font.ToUnicode.read_bytes(), re.MULTILINE | re.IGNORECASE):
        yield f"6.2.11.7.2: {name} maps a glyph to no character"
    if subtype == Name.Type0:
        if font.get("/Encoding") not in (Name("/Identity-H"), Name("/Identity-V")) and not isinstance(
            font.get("/Encoding"), Stream
        ):
            yield f"6.2.11.3.3: {name} has an encoding that is not embedded"
    elif subtype != Name.Type3:
        yield from _embedded(font, name)


def _embedded(font: Any, name: str) -> Iterator[str]:
    descriptor = font.get("/FontDescriptor", Dictionary())
    if not {"/FontFile", "/FontFile2", "/FontFile3"} & set(descriptor.keys()):
        yield f"6.2.11.4: {name} is not embedded"


def _annotations(held: Any) -> Iterator[str]:
    for one in held.get("/Annots", [held]):
        kind, flags = one.get("/Subtype"), int(one.get("/F", 0))
        if str(kind) not in _ANNOTATIONS:
            yield f"6.3.1: there is an annotation of kind {kind}"
        if kind != Name.Popup and (not flags & 4 or flags & (1 | 2 | 32 | 256)):
            yield "6.3.2: an annotation is not printed, or hidden"
        if kind not in (Name.Popup, Name.Link) and "/AP" not in one:
            yield "6.3.3: an annotation has no looks"


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
    modes = state.get("/BM", Name.Normal)
    for mode in [modes] if isinstance(modes, Name) else list(modes):
        if str(mode) not in _BLEND_MODES:
            yield f"6.2.10: there is a blend mode {mode}"


def _pages(pdf: Pdf) -> Iterator[str]:
    device = _device(pdf)
    for number, page in enumerate(pdf.pages, 1):
        if "/AA" in page.obj:
            yield f"6.5.2: page {number} has actions of its own"
        if "/PresSteps" in page.obj:
            yield f"6.10: page {number} is a presentation"
        yield from _content(page, f"page {number}", device)


def _content(page: pikepdf.Page, where: str, device: str) -> Iterator[str]:
    marks = saved = 0
    for operands, operator in pikepdf.parse_content_stream(page):
        name = str(operator)
        if name in ("BDC", "BMC"):
            marks += 1
        elif name == "EMC":
            marks -= 1
        elif name in ("q", "Q"):
            saved += 1 if name == "q" else -1
            if saved > 28:
                yield f"6.1.13: {where} saves its state more than 28 deep"
        elif name in _SHOWS and marks < 1:
            yield f"6.7.3: {where} shows something that is neither tagged nor an artefact"
        elif name in _DEVICE and _DEVICE[name] != device:
            yield f"6.2.4.3: {where} uses Device{_DEVICE[name]}, which the output intent gives no meaning"
        elif name in ("cs", "CS") and str(operands[0]) in {"/DeviceRGB", "/DeviceCMYK"} - {f"/Device{device}"}:
            yield f"6.2.4.3: {where} uses {operands[0]}, which the output intent gives no meaning"


def _metadata(pdf: Pdf) -> Iterator[str]:
    stream = pdf.Root.get("/Metadata")
    if not isinstance(stream, Stream):
        yield "6.6.2: there is no metadata"
        return
    if "/Filter" in stream:
        yield "6.6.2: the metadata is filtered"
    with pdf.open_metadata() as said:
        declared = said.get("pdfaid:part"), said.get("pdfaid:conformance")
        if declared != ("3", "A"):
            yield f"6.6.4: the metadata declares part and conformance {declared}, not 3 and A"
        title = pdf.docinfo.get("/Title")
        if title is not None and said.get("dc:title") != str(title):
            yield "6.6.3: the title is another one in the document's information"


def _structure(pdf: Pdf) -> Iterator[str]:
    root = pdf.Root.get("/StructTreeRoot")
    if root is None:
        yield "6.7.3: there is no structure"
        return
    roles = {str(key): str(value) for key, value in root.get("/RoleMap", Dictionary()).items()}
    for one in pdf.objects:
        if isinstance(one, Dictionary) and one.get("/Type", Name.StructElem) == Name.StructElem and "/P" in one:
            kind = str(one.get("/S", ""))
            for _ in range(len(roles) + 1):
                kind = roles.get(kind, kind) if kind not in _STRUCTURE else kind
            if kind and kind not in _STRUCTURE:
                yield f"6.7.3.4: the structure has {kind}, which is mapped to nothing known"
            if kind == "/Figure" and not (str(one.get("/Alt", "")) or str(one.get("/ActualText", ""))):
                yield "6.7.3: a figure has no alternative text"


def _files(pdf: Pdf) -> Iterator[str]:
    associated = {
        spec.objgen
        for one in pdf.objects
        if isinstance(one, Dictionary | Stream) and isinstance(one.get("/AF"), Array)
        for spec in one.AF
    }
    for one in pdf.objects:
        if not isinstance(one, Dictionary) or "/EF" not in one:
            continue
        name = str(one.get("/UF", one.get("/F", "a file")))
        if "/F" not in one or "/UF" not in one:
            yield f"6.8: {name} lacks its name in one of two forms"
        if str(one.get("/AFRelationship", "")) not in _RELATIONSHIPS:
            yield f"6.8: {name} does not say what it is to the document"
        if one.objgen not in associated:
            yield f"6.8: {name} is associated with nothing"
        inside = one.EF.get("/F", one.EF.get("/UF"))
        if not _MIME.fullmatch(str(inside.get("/Subtype", ""))[1:]):
            yield f"6.8: {name} has no media type"
        if "/ModDate" not in inside.get("/Params", Dictionary()):
            yield f"6.8: {name} has no date"


def _verapdf(data: bytes) -> list[str]:
    command = ["verapdf", "--flavour", "3a", "--format", "json", "-"]
    said = subprocess.run(command, input=data, capture_output=True, check=False)
    (job,) = json.loads(said.stdout)["report"]["jobs"]
    (result,) = job["validationResult"]
    return [
        f"{rule['clause']}: {rule['description']}"
        for rule in result["details"]["ruleSummaries"]
        if rule["ruleStatus"] == "FAILED"
    ]
