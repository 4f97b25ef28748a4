"""Colours (6.2.3, 6.2.4): profiles, and device colours that only an output intent gives a meaning."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from pikepdf import Array, Name, Pdf, Stream

_COMPONENTS: Final = {b"RGB ": 3, b"CMYK": 4, b"GRAY": 1, b"Lab ": 3}


def device(pdf: Pdf) -> str:
    """The device colours that the output intent gives a meaning: RGB, CMYK, GRAY, or nothing."""
    for one in pdf.Root.get("/OutputIntents", Array()):
        if "/DestOutputProfile" in one:
            return str(one.DestOutputProfile.read_bytes()[16:20].decode("latin-1").strip())
    return ""


def meaningless(name: Any, meant: str) -> bool:
    """Whether a colour space is one of a device that the output intent is not about. Grey always has a meaning."""
    return str(name) in ("/DeviceRGB", "/DeviceCMYK") and str(name)[7:] != meant


def profile(stream: Any, clause: str) -> Iterator[str]:
    """A colour profile (ICC.1:2010, 7.2): its size, signature, version, class, and number of components."""
    data = stream.read_bytes()
    space = _COMPONENTS.get(data[16:20])
    if int.from_bytes(data[:4], "big") != len(data) or data[36:40] != b"acsp" or data[8] > 4 or not space:
        yield f"{clause}: a colour profile is none"
    elif data[12:16] not in (b"prtr", b"mntr", b"scnr", b"spac"):
        yield f"{clause}: a colour profile is of class {data[12:16]!r}"
    elif stream.get("/N") != space:
        yield f"{clause}: a colour profile has {space} components, its stream says {stream.get('/N')}"


def space(held: Array, meant: str) -> Iterator[str]:
    """A colour space that is an array."""
    head = held[0] if len(held) else None
    if head == Name.ICCBased and isinstance(held[1], Stream):
        yield from profile(held[1], "6.2.4.2")
    if head == Name.DeviceN and len(held[1]) > 32:
        yield "6.1.13: a colour space has more than 32 colorants"
    if head in (Name.Indexed, Name.Separation, Name.DeviceN):
        base = held[1] if head == Name.Indexed else held[2]
        if isinstance(base, Name) and meaningless(base, meant):
            yield f"6.2.4.3: {base} is used, which the output intent gives no meaning"
