"""A report as PDF/A-3a (tagged): typeset by typst from `templates/report.typ`, with the report as JSON attached.

Data reach typst as a JSON file that its source reads: nothing that a user wrote is ever part of the source, so it
cannot be markup. Fonts are those that come with typst (Libertinus Serif, DejaVu Sans Mono), embedded in the PDF. A
character that they cannot show is written as its number, because PDF/A forbids missing glyphs.
"""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
import unicodedata
from collections.abc import Sequence
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import segno
import typst

from ledger.reports import words
from ledger.reports.errors import ReportError
from ledger.reports.schema import Metrics, Order, Report, Request

#: Rows of a table that are printed; the attached files have all of them. Typesetting takes memory for each. A
#: longer time line is printed as one row for each kind of step.
PRINTED: Final = {"requests": 300, "orders": 1_000, "certificates": 300, "steps": 100}
#: A longer period is drawn by years.
MOST_MONTHS: Final = 36
#: Longer words, as digests, are given places where they may break.
_LONG_WORD: Final = re.compile(r"\S{21,}")  # a time has 20 characters
_ZERO_WIDTH_SPACE: Final = "\u200b"
#: Latin, Greek, Cyrillic, Hebrew, Arabic, punctuation, the euro sign: what the fonts can show, in any order.
#: No combining marks: letters that have a form of their own are composed, and of the rest no font has all pairs.
_SHOWN: Final = (
    (0x20, 0x7E), (0xA0, 0xAC), (0xAE, 0x24F), (0x370, 0x377), (0x37A, 0x37F), (0x384, 0x38A), (0x38C, 0x38C),
    (0x38E, 0x3A1), (0x3A3, 0x482), (0x48A, 0x4FF), (0x5D0, 0x5EA), (0x621, 0x63A), (0x641, 0x64A),
    (0x1E00, 0x1EFF), (0x2010, 0x2026), (0x2030, 0x203A), (0x20AC, 0x20AC), (0x2116, 0x2116), (0x2190, 0x2193),
)  # fmt: skip


def render(report: Report, attachments: Sequence[tuple[str, str, bytes]] = ()) -> bytes:
    """The PDF of `report`. `attachments`: further files as (name, media type, bytes). Raises ReportError."""
    data = report.to_json()
    attached = [("report.json", "application/json", data), *attachments]
    inputs: dict[str, bytes] = {
        "main.typ": files("ledger.reports").joinpath("templates/report.typ").read_bytes(),
        "data.json": json.dumps(_page_data(report, data, attached)).encode(),
        "qr.svg": _qr(report),
    }
    inputs |= {f"attached-{number}": content for number, (_, _, content) in enumerate(attached)}
    del data, attached
    try:
        return _compile(inputs, int(report.made_at.timestamp()))
    except (RuntimeError, typst.TypstError) as error:
        raise ReportError(f"report {report.report} cannot be typeset: {error}") from error


def _compile(inputs: dict[str, bytes], timestamp: int) -> bytes:
    """In a folder of its own, which only we can read and which is gone afterwards: typst reads nothing outside.

    `inputs` is emptied: what lies on disk need not be in memory too while the pages are made.
    """
    with tempfile.TemporaryDirectory(prefix="report-") as folder:
        while inputs:
            name, content = inputs.popitem()
            Path(folder, name).write_bytes(content)
        del content
        return typst.compile(
            Path(folder, "main.typ"),
            root=Path(folder),
            format="pdf",
            pdf_standards=["a-3a"],
            ignore_system_fonts=True,
            timestamp=timestamp,
        )


def _page_data(report: Report, data: bytes, attached: Sequence[tuple[str, str, bytes]]) -> Any:
    held_back = {"requests", "orders", "certificates", "timeline"}
    said = json.loads(report.model_dump_json(by_alias=True, exclude=held_back))
    del said["log"]["checkpoint"]  # set line by line
    ends = report.timeline[:1] + report.timeline[-1:]
    said["timeline"] = [json.loads(one.model_dump_json(by_alias=True)) for one in ends]
    for name in ("requests", "orders", "certificates"):
        rows = getattr(report, name)
        said[name] = [
            json.loads(row.model_dump_json(by_alias=True)) | _explained(row, report.made_at)
            for row in rows[: PRINTED[name]]
        ]
        said[f"{name}Total"] = len(rows)
    for one, figures in zip(said["metrics"], report.metrics, strict=True):
        one |= {"law": words.LAWS.get(figures.regulation, figures.regulation), "received_in": _months(figures)}
    said["outcome"] = words.outcome(report)
    said["standings"] = words.standings(report.orders, report.made_at)
    said = printable(said)
    said["numbered"] = "[U+" in json.dumps(said)
    said["checkpointLines"] = report.log.checkpoint.splitlines()
    said["jsonSha256"] = hashlib.sha256(data).hexdigest()
    said["attached"] = [
        {"name": name, "type": kind, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, kind, content in attached
    ]
    said["statements"] = _statements(report)
    said |= _steps(report)
    said["coverageGroups"] = _coverage(report)
    return said


def _steps(report: Report) -> dict[str, Any]:
    """The time line for print: steps of one kind that follow each other as one row, and all of a kind as one bar,
    `from` and `to` as shares of the whole time.
    """
    rows: list[dict[str, Any]] = []
    kinds: dict[str, dict[str, Any]] = {}
    events = report.timeline
    start, whole = (events[0].at, (events[-1].at - events[0].at).total_seconds()) if events else (report.made_at, 0)
    for event in events:
        at, share = _rfc3339(event.at), (event.at - start).total_seconds() / whole if whole else 0.0
        if not rows or rows[-1]["what"] != event.what:
            rows.append({"what": event.what, "since": at, "first": event.entry, "number": 0})
        rows[-1] |= {"until": at, "end": event.entry, "number": rows[-1]["number"] + 1}
        kind = kinds.setdefault(
            event.what, {"what": event.what, "since": at, "first": event.entry, "from": share, "number": 0}
        )
        kind |= {"until": at, "end": event.entry, "to": share, "number": kind["number"] + 1}
    each = len(rows) <= PRINTED["steps"]
    return {"steps": rows if each else list(kinds.values()), "each": each, "kindsOfSteps": list(kinds.values())}


def _explained(row: object, now: datetime) -> dict[str, str]:
    """What the page says of a row beside what is in it."""
    if isinstance(row, Request):
        return {
            "law": words.LAWS.get(row.regulation, row.regulation),
            "punctual": words.punctual(row, now),
            "decisionReason": words.decision_reason(row),
            "extensionReason": words.extension_reason(row),
            "closureReason": words.closure_reason(row),
        }
    if isinstance(row, Order):
        return {"standing": words.standing(row, now), "exceptionReason": words.exception(row)}
    return {}


def _months(found: Metrics) -> list[dict[str, Any]]:
    """Requests by month from the first to the last that had any, months without some included; by year if long."""
    if not found.by_month:
        return []
    first, last = (12 * int(name[:4]) + int(name[5:]) - 1 for name in (min(found.by_month), max(found.by_month)))
    names = [f"{month // 12}-{month % 12 + 1:02}" for month in range(first, last + 1)]
    if len(names) <= MOST_MONTHS:
        return [{"label": name, "number": found.by_month.get(name, 0)} for name in names]
    years: dict[str, int] = {name[:4]: 0 for name in names}
    for name, number in found.by_month.items():
        years[name[:4]] += number
    return [{"label": name, "number": number} for name, number in years.items()]


def _rfc3339(time: datetime) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"


def _statements(report: Report) -> dict[str, list[str]]:
    """What the certificates say is proved and what is not, each sentence once."""
    current = [one for one in report.certificates if one.current]
    return {
        "proves": list(dict.fromkeys(sentence for one in current for sentence in one.proves)),
        "doesNotProve": list(dict.fromkeys(sentence for one in current for sentence in one.does_not_prove)),
    }


def _coverage(report: Report) -> list[dict[str, Any]]:
    """How many orders have a verdict with such a share of the touched chunks proved, in steps of 10 per cent."""
    shares = [
        10 * one.proved_chunks // one.touched_chunks
        for one in report.orders
        if one.touched_chunks and one.proved_chunks is not None
    ]
    return [
        {"label": "100 %" if step == 10 else f"{step * 10} to {step * 10 + 9} %", "number": shares.count(step)}
        for step in range(11)
        if step in shares
    ]


def _qr(report: Report) -> bytes:
    """The head of the log in three lines, as the checkpoint's note begins: origin, size, root (base64)."""
    text = "\n".join(report.log.checkpoint.splitlines()[:3])
    return segno.make(text, error="m", micro=False).svg_inline(scale=4, border=2).encode().replace(
        b"<svg ", b'<svg xmlns="http://www.w3.org/2000/svg" ', 1
    )  # fmt: skip


def printable(value: Any) -> Any:
    """`value` (JSON) with only characters that the fonts can show, and long words that can be broken."""
    match value:
        case str():
            text = unicodedata.normalize("NFC", value)
            text = "".join(one if _is_shown(one) else f"[U+{ord(one):04X}]" for one in text)
            return _LONG_WORD.sub(_breakable, text)
        case list():
            return [printable(one) for one in value]
        case dict():
            return {printable(key) if " " in key else key: printable(one) for key, one in value.items()}
    return value


def _is_shown(character: str) -> bool:
    return any(first <= ord(character) <= last for first, last in _SHOWN)


def _breakable(found: re.Match[str]) -> str:
    """UUIDs and digests too: typst would let them run out of their column."""
    word = found[0]
    return _ZERO_WIDTH_SPACE.join(word[at : at + 8] for at in range(0, len(word), 8))
