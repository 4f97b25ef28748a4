"""The document as a whole: trailer, catalogue, output intents, layers, attached files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from pikepdf import Array, Dictionary, Name, Pdf, Stream

from tests.pdfa import colours

LANGUAGE: Final = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")
_MIME: Final = re.compile(r"[a-z0-9.+-]+/[a-z0-9.+-]+")
_RELATIONSHIPS: Final = {"/Source", "/Data", "/Alternative", "/Supplement", "/Unspecified"}


def look(pdf: Pdf) -> Iterator[str]:
    """What is wrong with it."""
    for part in (_trailer, _catalogue, _intent, _layers, _files):
        yield from part(pdf)


def _trailer(pdf: Pdf) -> Iterator[str]:
    if "/ID" not in pdf.trailer:
        yield "6.1.3: the trailer has no ID"
    if "/Encrypt" in pdf.trailer:
        yield "6.1.3: the file is encrypted"


def _catalogue(pdf: Pdf) -> Iterator[str]:
    root = pdf.Root
    for key, clause in (("/AA", "6.5.2"), ("/Requirements", "6.11")):
        if key in root:
            yield f"{clause}: the catalogue has {key}"
    if set(root.get("/Perms", Dictionary()).keys()) - {"/DocMDP", "/UR3"}:
        yield "6.1.12: the catalogue has permissions other than those of signatures"
    names = root.get("/Names", Dictionary())
    for key, clause in (("/JavaScript", "6.5.1"), ("/AlternatePresentations", "6.10")):
        if key in names:
            yield f"{clause}: the names have {key}"
    form = root.get("/AcroForm", Dictionary())
    if "/XFA" in form or form.get("/NeedAppearances", False):
        yield "6.4: a form leaves its looks to the reader"
    if not root.get("/MarkInfo", Dictionary()).get("/Marked", False):
        yield "6.7.2: the file does not say that it is tagged"
    if not LANGUAGE.fullmatch(str(root.get("/Lang", ""))):
        yield "6.7.4: the file has no language"


def _intent(pdf: Pdf) -> Iterator[str]:
    intents = [one for one in pdf.Root.get("/OutputIntents", Array()) if one.get("/S") == Name.GTS_PDFA1]
    if not intents or "/DestOutputProfile" not in intents[0]:
        yield "6.2.3: there is no output intent with a profile"
        return
    if len({one.DestOutputProfile.objgen for one in intents if "/DestOutputProfile" in one}) > 1:
        yield "6.2.3: output intents name several profiles"
    if any("/DestOutputProfileRef" in one for one in intents):
        yield "6.2.3: an output intent's profile lies elsewhere"
    if intents[0].DestOutputProfile.read_bytes()[12:16] not in (b"prtr", b"mntr"):
        yield "6.2.3: the output intent's profile is neither a printer's nor a screen's"
    yield from colours.profile(intents[0].DestOutputProfile, "6.2.3")


def _layers(pdf: Pdf) -> Iterator[str]:
    """Optional content: every configuration named, nothing that shows and hides by itself, no layer unlisted."""
    said = pdf.Root.get("/OCProperties")
    if said is None:
        return
    layers = {one.objgen for one in said.get("/OCGs", Array())}
    configurations = [said.get("/D", Dictionary()), *said.get("/Configs", Array())]
    names = [str(one.get("/Name", "")) for one in configurations]
    if "" in names or len(set(names)) < len(names):
        yield "6.9: a configuration of layers has no name of its own"
    for one in configurations:
        if "/AS" in one:
            yield "6.9: layers are shown and hidden by themselves"
        if "/Order" in one and layers - set(_listed(one.Order)):
            yield "6.9: a layer is missing in the order of layers"


def _listed(order: Array) -> Iterator[tuple[int, int]]:
    for one in order:
        if isinstance(one, Array):
            yield from _listed(one)
        elif isinstance(one, Dictionary):
            yield one.objgen


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
