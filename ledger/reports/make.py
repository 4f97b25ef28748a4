"""A report in one of its forms, with what belongs into it. What it is about and who may have it: the callers'."""

from __future__ import annotations

import hashlib
import tempfile
import uuid
from collections.abc import Callable
from typing import Final, Literal, Protocol, cast

from ledger.models import Export
from ledger.reports import pdf, tables
from ledger.reports.collect import collect
from ledger.reports.schema import About, Report
from ledger.workflow.bundle import Wanted, write_window_bundle
from ledger.workflow.errors import WorkflowError
from ledger.workflow.exports import keep_step, kept_step, record_export
from ledger.workflow.step import get_or_refuse

Format = Literal["pdf", "json", "csv"]
#: Media type and ending of the file's name.
FORMATS: Final[dict[str, tuple[str, str]]] = {
    "pdf": ("application/pdf", "pdf"),
    "json": ("application/json", "json"),
    "csv": ("application/zip", "zip"),
}
#: Larger audit bundles are not attached: the report names their digest only.
ATTACHED_BYTES: Final = 4 * 1024 * 1024
Say = Callable[[float, str], None]


class Keeper(Protocol):
    """Keeps parts of a report that are done, so that they need not be made again."""

    def get(self, name: str) -> bytes | None:
        """What was kept under this name, if anything."""

    def put(self, name: str, data: bytes, covers: int) -> None:
        """Keep a part, made from a log of so many entries."""


class Forgetful:
    """Keeps nothing: for reports that nobody waits for but the caller."""

    def get(self, name: str) -> bytes | None:
        """Nothing."""

    def put(self, name: str, data: bytes, covers: int) -> None:
        """Forget it."""


class _Kept:
    """Keeps the parts of one export with it."""

    def __init__(self, export_id: uuid.UUID | str) -> None:
        self._export = export_id

    def get(self, name: str) -> bytes | None:
        return kept_step(self._export, name)

    def put(self, name: str, data: bytes, covers: int) -> None:
        keep_step(self._export, name, data, covers)


def make(
    report_id: uuid.UUID | str,
    about: About,
    form: Format,
    *,
    personal_data: bool = False,
    say: Say = lambda _fraction, _words: None,
    kept: Keeper | None = None,
) -> tuple[Report, bytes]:
    """The report and its file; `say` hears how far it is, parts that were `kept` are not made again.

    Raises WorkflowError and ReportError as `collect`.
    """
    kept = kept or Forgetful()
    data = kept.get("report")
    if data is None:
        say(0.05, "reading the ledger")
        report = collect(report_id, about, personal_data=personal_data)
        kept.put("report", report.to_json(), report.log.size)
    else:
        report = Report.model_validate_json(data)
    if form == "json":
        return report, report.to_json()
    if form == "csv":
        return report, tables.archive(report)
    say(0.4, "making the window's audit bundle")
    digest, bundle = _bundle(report, kept)
    report = report.model_copy(update={"bundle_sha256": digest})
    say(0.7, f"typesetting {len(report.requests) + len(report.orders)} rows")
    attachments = [] if bundle is None else [("bundle.zip", "application/zip", bundle)]
    return report, pdf.render(report, attachments)


def _bundle(report: Report, kept: Keeper) -> tuple[str | None, bytes | None]:
    """As `_bundle_of`, kept as the digest in hex, a line's end, and the bundle if it is small enough."""
    data = kept.get("bundle")
    if data is None:
        digest, bundle = _bundle_of(report)
        kept.put("bundle", (digest or "").encode() + b"\n" + (bundle or b""), report.log.size)
        return digest, bundle
    line, _, rest = data.partition(b"\n")
    return line.decode() or None, rest or None


def _bundle_of(report: Report) -> tuple[str | None, bytes | None]:
    """Digest of the window's bundle under the report's head, without the clients' proofs, and the bundle itself if
    it is small enough. Neither for other scopes, and for a window without a mask.
    """
    if report.about.scope != "window" or report.windows[0].mask_entry is None:
        return None, None
    with tempfile.TemporaryFile() as file:
        try:
            size = write_window_bundle(report.windows[0].window, file, Wanted("digests", size=report.log.size))
        except WorkflowError as error:
            if error.code == "too-large":
                return None, None
            raise
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(0)
        return digest, file.read() if size <= ATTACHED_BYTES else None


def run_export(export_id: uuid.UUID | str, say: Say) -> None:
    """A worker's part: make the report that was asked for and record it. Again: nothing happens."""
    row = get_or_refuse(Export.objects.all(), "export", uuid=export_id)
    if row.entry_id is not None:
        return
    about = About(
        scope=row.scope,
        id=None if row.about is None else str(row.about),
        since=row.since,
        until=row.until,
    )
    report, data = make(
        row.uuid, about, cast(Format, row.form), personal_data=row.personal_data, say=say, kept=_Kept(row.uuid)
    )
    say(0.95, "logging the digest")
    record_export(row.uuid, data, report.log.size)
