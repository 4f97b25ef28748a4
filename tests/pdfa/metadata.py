"""Metadata (6.6): one packet in the open, which says what the file is, and nothing else than the rest of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final
from xml.etree import ElementTree as ET

from pikepdf import Pdf, Stream

_RDF: Final = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_ID: Final = "http://www.aiim.org/pdfa/ns/id/"
_SCHEMA: Final = "{http://www.aiim.org/pdfa/ns/schema#}namespaceURI"
#: Schemas that need no explanation (XMP specification 2005; ISO 19005-3, 6.6.2.3).
_KNOWN: Final = {
    "http://purl.org/dc/elements/1.1/", "http://ns.adobe.com/xap/1.0/", "http://ns.adobe.com/xap/1.0/rights/",
    "http://ns.adobe.com/xap/1.0/mm/", "http://ns.adobe.com/xap/1.0/bj/", "http://ns.adobe.com/xap/1.0/t/pg/",
    "http://ns.adobe.com/xmp/1.0/DynamicMedia/", "http://ns.adobe.com/pdf/1.3/", "http://ns.adobe.com/photoshop/1.0/",
    "http://ns.adobe.com/camera-raw-settings/1.0/", "http://ns.adobe.com/tiff/1.0/", "http://ns.adobe.com/exif/1.0/",
    "http://ns.adobe.com/exif/1.0/aux/", _ID, "http://www.aiim.org/pdfa/ns/extension/",
}  # fmt: skip
#: Entries of the document's information, and the properties that say the same.
_SAME: Final = {
    "/Title": "dc:title", "/Author": "dc:creator", "/Subject": "dc:description", "/Keywords": "pdf:Keywords",
    "/Creator": "xmp:CreatorTool", "/Producer": "pdf:Producer", "/CreationDate": "xmp:CreateDate",
    "/ModDate": "xmp:ModifyDate",
}  # fmt: skip


def look(pdf: Pdf) -> Iterator[str]:
    """What is wrong with the packet of the document, and with those of other objects."""
    stream = pdf.Root.get("/Metadata")
    if not isinstance(stream, Stream):
        yield "6.6.2: there is no metadata"
        return
    if "/Filter" in stream:
        yield "6.6.2: the metadata is filtered"
    for one in pdf.objects:
        if isinstance(one, Stream) and one.get("/Type") == "/Metadata":
            yield from _packet(one.read_bytes())
    yield from _identity(stream.read_bytes())
    with pdf.open_metadata() as said:
        for key, name in _SAME.items():
            if key in pdf.docinfo and not _agree(str(pdf.docinfo[key]), said.get(name)):
                yield f"6.6.3: {key[1:]} is another one in the document's information"


def _packet(data: bytes) -> Iterator[str]:
    header = re.match(rb"<\?xpacket[^>]*\?>", data)
    if header is not None and re.search(rb"\b(bytes|encoding)=", header[0]):
        yield "6.6.2.1: the metadata's header says bytes or encoding"
    try:
        root = ET.fromstring(data.decode("utf-8"))
    except (UnicodeDecodeError, ET.ParseError) as error:
        yield f"6.6.2.1: the metadata is not XML in UTF-8: {error}"
        return
    known = _KNOWN | {str(one.text) for one in root.iter(_SCHEMA)}
    for description in root.iter(f"{_RDF}Description"):
        used = {one.tag for one in description} | {key for key in description.attrib if not key.startswith(_RDF)}
        for name in sorted({tag[1:].split("}")[0] for tag in used} - known):
            yield f"6.6.2.3: the metadata uses {name}, which it does not explain"


def _identity(data: bytes) -> Iterator[str]:
    values = {
        name: re.findall(
            rb"<pdfaid:%s>([^<]*)<|pdfaid:%s=[\"']([^\"']*)[\"']" % (name.encode(), name.encode()), data
        )
        for name in ("part", "conformance")
    }
    said = {name: [(one or other).decode() for one, other in found] for name, found in values.items()}
    if said != {"part": ["3"], "conformance": ["A"]}:
        yield f"6.6.4: the metadata declares {said}, not part 3 and conformance A"
    if _ID.encode() not in data:
        yield "6.6.4: pdfaid is not the schema of that name"


def _agree(info: str, said: Any) -> bool:
    """Whether both say the same; times may be written in two ways."""
    if isinstance(said, list):
        said = "; ".join(said)
    if said is None:
        return False
    if info.startswith("D:"):
        return _pdf_time(info) == datetime.fromisoformat(str(said))
    return str(said) == info


def _pdf_time(text: str) -> datetime | None:
    """D:YYYYMMDDHHmmSS with Z or an offset (ISO 32000-1, 7.9.4); None for anything less."""
    found = re.fullmatch(r"D:(\d{14})(?:Z|([+-]\d\d)'(\d\d)'?)", text)
    if found is None:
        return None
    time = datetime.strptime(found[1], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    return time if found[2] is None else datetime.fromisoformat(f"{time:%Y-%m-%dT%H:%M:%S}{found[2]}:{found[3]}")
