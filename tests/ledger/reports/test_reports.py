"""Reports as their readers get them: what the files hold, and what they must not hold."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import uuid
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pikepdf
import pypdfium2
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from ledger import log
from ledger.reports import schema, tables
from ledger.reports.make import make
from ledger.reports.metrics import metrics
from ledger.reports.schema import About
from ledger.workflow import request_steps, requests
from tests import pdfa
from tests.ledger.reports.conftest import NAMES, Certified
from tests.ledger.story import FORGET, nobody

pytestmark = pytest.mark.django_db  # savepoints inside the module's transaction; it also has the database made
NOW = datetime(2026, 6, 1, tzinfo=UTC)


def text_of(pdf: bytes) -> str:
    document = pypdfium2.PdfDocument(pdf)
    try:
        return "\n".join(page.get_textpage().get_text_bounded() for page in document)
    finally:
        document.close()


def attachments(pdf: bytes) -> dict[str, bytes]:
    with pikepdf.open(io.BytesIO(pdf)) as document:
        return {name: spec.get_file().read_bytes() for name, spec in document.attachments.items()}


def everything_in(form: str, data: bytes) -> str:
    """All text that a reader of the file can come by."""
    if form == "csv":
        with zipfile.ZipFile(io.BytesIO(data)) as folder:
            return "".join(folder.read(name).decode("utf-8") for name in folder.namelist())
    if form == "pdf":
        files = attachments(data)
        inside = streams_of(data)
        if "bundle.zip" in files:
            with zipfile.ZipFile(io.BytesIO(files["bundle.zip"])) as bundle:
                inside += b"".join(bundle.read(name) for name in bundle.namelist())
        return text_of(data) + files["report.json"].decode() + inside.decode("latin-1")
    return data.decode()


def streams_of(pdf: bytes) -> bytes:
    """Metadata, and whatever else is in the file, unpacked."""
    with pikepdf.open(io.BytesIO(pdf)) as document:
        info = str(dict(document.docinfo)).encode()
        return info + b"".join(one.read_bytes() for one in document.objects if isinstance(one, pikepdf.Stream))


def abouts(certified: Certified) -> list[About]:
    now = datetime.now(UTC)
    return [
        About(scope="window", id=str(certified.window.uuid)),
        About(scope="request", id=str(certified.request.uuid)),
        About(scope="client", id=certified.parties[0].uuid),
        About(scope="period", since=now - timedelta(days=730), until=now + timedelta(days=1)),
    ]


def test_every_report_is_pdf_a_3_with_its_data_inside(certified: Certified):
    for about in abouts(certified):
        report, data = make(uuid.uuid4(), about, "pdf")
        assert pdfa.judged(data)[0] == []
        with pikepdf.open(io.BytesIO(data)) as document:
            assert str(document.docinfo["/Title"]).startswith("Report on a")
            with document.open_outline() as outline:
                assert {"How to check this report", "What is proved, and what is not"} <= {
                    item.title.lstrip("0123456789. ") for item in outline.root
                }
        assert attachments(data)["report.json"] == report.to_json()
        assert report.log.root in text_of(data).replace("\r\n", "").replace("\n", "").replace("\u200b", "")


def test_names_are_never_markup(certified: Certified):
    _, data = make(uuid.uuid4(), abouts(certified)[0], "pdf")
    shown = " ".join(text_of(data).replace("\u200b", "").split())
    assert '#panic("x") *b* $1/0$ <l> @ref [x] `r` // c' in shown
    assert "[U+6F22][U+5B57] [U+1F600] [U+202E]" in shown.replace("] [U+5", "][U+5")
    assert json.loads(attachments(data)["report.json"])["orders"][0]["clientName"] in NAMES


def test_the_attached_bundle_is_the_one_that_the_report_names(certified: Certified):
    report, data = make(uuid.uuid4(), abouts(certified)[0], "pdf")
    assert hashlib.sha256(attachments(data)["bundle.zip"]).hexdigest() == report.bundle_sha256


@pytest.mark.parametrize("form", ["pdf", "json", "csv"])
def test_persons_are_named_only_where_that_was_asked_for(certified: Certified, form):
    about = abouts(certified)[0]
    _, data = make(uuid.uuid4(), about, form)
    for part in ("Renate", "Müller", "4711"):
        assert part not in everything_in(form, data)
    _, data = make(uuid.uuid4(), about, form, personal_data=True)
    assert "Renate" in everything_in(form, data)


@pytest.mark.parametrize("form", ["pdf", "json", "csv"])
def test_the_report_on_a_request_names_no_client(certified: Certified, form):
    """It is what the person who asked may be given: clients stand in it under their identifier in the log."""
    report, data = make(uuid.uuid4(), abouts(certified)[1], form, personal_data=True)
    assert [order.client for order in report.orders] == sorted(party.uuid for party in certified.parties)
    told = everything_in(form, data).replace("\u200b", "")
    assert report.orders[0].client[:8] in told
    for name in ("Klinik", "HYPERLINK", NAMES[2], "WWWWW", *(json.dumps(name)[1:-1] for name in NAMES)):
        assert name not in told


def test_a_window_report_says_what_the_ledger_knows(certified: Certified):
    report, _ = make(uuid.uuid4(), abouts(certified)[0], "json")
    assert {order.client_name for order in report.orders} == set(NAMES)
    assert {(order.state, order.proved_chunks, order.detection) for order in report.orders} == {("met", 2, "1")}
    assert [one.complete for one in report.certificates] == [True]
    assert [event.what for event in report.timeline][:3] == ["request filed", "request approved", "window closed"]
    (request,) = report.requests
    assert (request.state, request.in_time, request.decision) == ("fulfilled", True, "approved")


def test_extensions_and_ends_are_told(certified: Certified):
    """Rows stand in the order of the log, and the time line has what was done before a request came to nothing."""
    first, second = (requests.file_request("gdpr", f"somebody {number}", FORGET) for number in range(2))
    request_steps.extend(second.uuid, "complexity", datetime.now(UTC))
    request_steps.set_hold(second.uuid, "litigation")
    report, data = make(uuid.uuid4(), About(scope="request", id=str(second.uuid)), "pdf")
    assert "open, legal hold" in text_of(data)
    request_steps.lift_hold(second.uuid, "hold-ended")
    request_steps.revoke(second.uuid)
    report, _ = make(uuid.uuid4(), About(scope="request", id=str(second.uuid)), "json")
    assert [one.what for one in report.timeline] == ["request filed", "time extended", "request revoked"]
    assert not report.requests[0].held
    report, _ = make(uuid.uuid4(), abouts(certified)[3], "json")
    assert [one.request for one in report.requests][-2:] == [str(first.uuid), str(second.uuid)]
    entries = [one.filed_entry for one in report.requests]
    assert entries == sorted(entries)


def test_more_requests_are_no_more_questions(certified: Certified):
    """Nor are their statements read: of ten thousand requests, each with several, only the times are wanted."""
    asked = []
    for number in range(3):
        requests.file_request("gdpr", f"one more {number}", FORGET)
        log.publish_checkpoint()
        with CaptureQueriesContext(connection) as queries:
            make(uuid.uuid4(), abouts(certified)[3], "json")
        read = [
            one["sql"]
            for one in queries
            if '"ledger_deletionrequest"."received_at"' in one["sql"].split("WHERE")[0]
        ]
        asked.append((len(queries), len(read)))
        assert read
        assert not any("envelope" in sql for sql in read)
    assert asked[0] == asked[2]


def test_formulas_are_text(certified: Certified):
    _, data = make(uuid.uuid4(), abouts(certified)[0], "csv")
    with zipfile.ZipFile(io.BytesIO(data)) as folder:
        text = folder.read("orders.csv")
        assert folder.read("timeline.csv").decode("utf-8-sig").splitlines()[1].endswith("Z,request filed,10")
    assert text.startswith(b"\xef\xbb\xbf")
    rows = list(csv.DictReader(io.StringIO(text.decode("utf-8-sig"))))
    assert {row["client_name"] for row in rows} == {*NAMES[:1], "'=HYPERLINK(1)", *NAMES[2:]}
    for hostile in ("+1", "-1", "@a", "\t=1", "\r=1", "=1", " =1", '"=1'):
        assert str(tables.cell(hostile))[0] not in "=+-@\t\r"
    assert tables.cell(-3) == -3


def test_equal_reports_give_equal_tables(certified: Certified):
    report, data = make(uuid.uuid4(), abouts(certified)[3], "csv")
    assert tables.archive(report) == data


def request(**changes: object) -> schema.Request:
    said = schema.Request(
        request=nobody(), regulation="ccpa", state="fulfilled", received_at=NOW, due_at=NOW + timedelta(days=45),
        acknowledge_by=None, acknowledged_at=None, extended=False, extension_reason="", notified_at=None,
        decision="approved", decision_reason="", decided_at=NOW, closure_reason="",
        answered_at=NOW + timedelta(days=3), days=3.0, in_time=True, filed_entry=1, decision_entry=2,
        fulfilled_entry=3, erased_entry=None,
    )  # fmt: skip
    return said.model_copy(update=changes)


def test_the_figures_that_californian_law_asks_for():
    open_ = {"state": "in_progress", "answered_at": None, "days": None, "in_time": None}
    partly = request(**open_)
    rows = [
        request(),
        request(days=10.0, in_time=False, extended=True, extension_reason="complexity"),
        request(state="denied", days=5.0, decision_reason="exception-legal"),
        request(state="revoked", days=1.0),
        partly,
        request(**open_, due_at=NOW - timedelta(days=1)),
        request(regulation="gdpr"),
    ]
    ccpa, gdpr = metrics(rows, {partly.request}, NOW)
    assert (ccpa.regulation, gdpr.regulation, gdpr.received) == ("ccpa", "gdpr", 1)
    assert (ccpa.received, ccpa.fulfilled, ccpa.in_part, ccpa.denied, ccpa.closed) == (6, 2, 1, 1, 1)
    assert (ccpa.pending, ccpa.overdue, ccpa.extended) == (2, 1, 1)
    assert (ccpa.median_days, ccpa.mean_days) == (5.0, 6.0)
    assert (ccpa.answered_in_time, ccpa.answered_late) == (2, 1)
    assert ccpa.denial_reasons == {"exception-legal": 1}
    assert ccpa.by_month == {"2026-06": 6}


def test_the_published_schema_is_the_one_of_the_code():
    published = Path(__file__).parents[3] / "docs" / "report.schema.json"
    assert json.loads(published.read_text()) == schema.json_schema(), "run `make openapi`"
