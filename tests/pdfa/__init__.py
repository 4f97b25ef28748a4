"""What ISO 19005-3 (PDF/A-3) asks of a file at level A, as far as a reader of its objects can tell.

`problems` looks at objects, fonts, colours, actions, metadata, tags and attached files, clause by clause; each
complaint begins with the clause. `judged` asks veraPDF as well where it is installed. Not looked at: bytes between
objects and inside strings (6.1.6, 6.1.9), resources that pages inherit (6.2.2: qpdf hands them down as it reads),
JPEG 2000 (6.2.8.3), fonts that are not composite beyond being embedded and mapped, and what only a person knows, as
whether the order of the tags makes sense.
"""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
from collections.abc import Iterator

import pikepdf
from pikepdf import Pdf

from tests.pdfa import document, metadata, objects, pages, structure


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
        for part in (document, objects, pages, metadata, structure):
            found += part.look(pdf)
    return list(dict.fromkeys(found))


def _bytes(data: bytes) -> Iterator[str]:
    if not re.match(rb"%PDF-1\.[0-7]\r?\n%[\x80-\xff]{4,}", data):
        yield "6.1.2: the file does not begin with its version and a comment of four bytes above 127"
    if not re.search(rb"%%EOF(\r\n|\r|\n)?\Z", data):
        yield "6.1.3: something follows the end of the file"


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
