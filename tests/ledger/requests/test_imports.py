"""Files of requests: line by line, twice without harm, interrupted without halves, large in bounded time."""

from __future__ import annotations

import csv
import io
import json
import uuid
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from ledger import log, models, queue, vault
from ledger.workflow import imports
from ledger.workflow.errors import WorkflowError
from tests.ledger.requests.parts import ANN, days_later, holds, pets, refused

pytestmark = pytest.mark.django_db

AT = "2026-10-01T09:00:00Z"
HEADER = "regulation,subject,dataset,class,classes,samples,query,receivedAt,subjectRequestId,statusCallbackUrls\n"


def results(text: str, form: Any = "csv", **more: Any) -> list[tuple[int, str]]:
    return [(line.number, line.result) for line in imports.import_text(text, form, actor=ANN, **more).lines]


def test_every_column() -> None:
    pets()
    number = uuid.uuid4()
    text = HEADER + (
        f"gdpr,Ada,pets,0,,,,{AT},,\n"
        f'ccpa,"Bob, the\nsecond",pets,,1; 2,,,{AT},{number},https://a.example/1;https://a.example/2\n'
        "\n"
        f"lgpd,Eve,pets,,,ada-1;bob-1,,{AT},,\n"
        f'other,Zoe,pets,,,,"{{""site"": ""north""}}",{AT},,\n'
    )
    assert results(text) == [(2, "filed"), (3, "filed"), (6, "filed"), (7, "filed")]
    rows = list(models.DeletionRequest.objects.order_by("filed_entry"))
    assert [row.regulation for row in rows] == ["gdpr", "ccpa", "lgpd", "other"]
    assert [row.forget for row in rows] == [
        {"dataset": "pets", "class": 0}, {"dataset": "pets", "classes": [1, 2]},
        {"dataset": "pets", "sealed": "samples"}, {"dataset": "pets", "sealed": "query"},
    ]  # fmt: skip
    assert vault.unseal(rows[1].subject)["subject"] == "Bob, the\nsecond"
    assert rows[1].subject_request_id == number
    assert rows[1].status_callback_urls == ["https://a.example/1", "https://a.example/2"]
    holds()


def test_json_lines() -> None:
    pets()
    forget = {"dataset": "pets", "samples": ["ada-1"]}
    lines = [
        {"regulation": "gdpr", "subject": "Ada", "forget": forget, "receivedAt": AT},
        {
            "regulation": "gdpr",
            "subject": "Bob",
            "dataset": "pets",
            "class": 1,
            "subjectRequestId": str(uuid.uuid4()),
        },
    ]
    assert results("\n".join(map(json.dumps, lines)), "jsonl") == [(1, "filed"), (2, "filed")]
    assert models.Event.objects.filter(kind="request.filed", actor_name="ann").count() == 2


def test_the_same_file_again_files_nothing_twice() -> None:
    text = HEADER + f"gdpr,Ada,d,0,,,,{AT},,\ngdpr,Bob,d,0,,,,,{uuid.uuid4()},\n"
    assert {result for _, result in results(text)} == {"filed"}
    size = log.size()
    again = imports.import_text(text, "csv", actor=ANN)
    assert [line.result for line in again.lines] == ["already", "already"]
    named = {line.request for line in again.lines}
    assert named == {str(name) for name in models.DeletionRequest.objects.values_list("uuid", flat=True)}
    assert log.size() == size
    # A line that comes twice within one file is the same line too.
    assert results(text + f"gdpr,Zoe,d,0,,,,{AT},,\n" * 2)[2:] == [(4, "filed"), (5, "already")]


def test_a_dry_run_files_nothing() -> None:
    text = HEADER + f"gdpr,Ada,d,0,,,,{AT},,\ngdpr,Ada,d,0,,,,2026-10-02T00:00:00Z,,\nhipaa,x,d,0,,,,{AT},,\n"
    before = log.size(), models.SubjectRecord.objects.count(), models.Event.objects.count()
    expected = [(2, "would-file"), (3, "refused"), (4, "refused")]
    assert results(text, dry_run=True) == expected
    assert (log.size(), models.SubjectRecord.objects.count(), models.Event.objects.count()) == before
    assert results(text) == [(2, "filed"), *expected[1:]]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("hipaa,Ada,d,0,,,,AT,,", "got the regulation 'hipaa', expected one of gdpr"),
        ("gdpr,,d,0,,,,AT,,", "subject is text and has to be there"),
        ("gdpr,Ada,d,x,,,,AT,,", 'a class is a number from 0, got "x"'),
        ("gdpr,Ada,d,,1;y,,,AT,,", 'a class is a number from 0, got "y"'),
        ("gdpr,Ada,d,,,,,AT,,", "got the members 'dataset'; forget is"),
        ("gdpr,Ada,d,0,1,,,AT,,", "got the members 'class', 'classes', 'dataset'"),
        ("gdpr,Ada,d,,,,nonsense,AT,,", "query is not strict JSON"),
        ("gdpr,Ada,d,0,,,,yesterday,,", "receivedAt is a time as in 2026-01-31T12:00:00Z, got 'yesterday'"),
        ("gdpr,Ada,d,0,,,,2026-10-01T09:00:00,,", "receivedAt needs a zone"),
        ("gdpr,Ada,d,0,,,,AT,17,", "subjectRequestId is a UUID, got '17'"),
        ("gdpr,Ada,d,0,,,,,,", "receivedAt or subjectRequestId has to be there"),
        ("gdpr,Ada,d,0,,,,AT,,http://x.example", "a callback is an https URL"),
        ("gdpr,Ada,d,0", "got 4 values, expected 10, one per column"),
        ("gdpr,Ada,d,,,zoe,,AT,,", "'d' cannot be looked up"),
        ('gdpr,"Ada"x,d,0,,,,AT,,', "this is no CSV"),
    ],
)
def test_a_bad_line_is_named_and_alone(line: str, words: str) -> None:
    good = f"gdpr,Bob,d,0,,,,{AT},,\n"
    text = HEADER + good + line.replace("AT", AT) + "\n" + good.replace("Bob", "Eve")
    one, bad, two = imports.import_text(text, "csv", actor=ANN).lines
    assert (one.result, two.result) == ("filed", "filed")
    assert (bad.number, bad.result) == (3, "refused")
    assert words in bad.detail
    assert models.DeletionRequest.objects.count() == 2
    holds()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("[]", "got list, expected an object"),
        ("{", "this line is not strict JSON"),
        ('{"regulation": "gdpr", "regulation": "ccpa"}', "occurs twice"),
        ('{"regulation": "gdpr", "subject": 3}', "subject is text"),
        ('{"regulation": "gdpr", "subject": "a", "note": "x"}', "got the member 'note'"),
        ('{"regulation": "gdpr", "subject": "a", "forget": {}, "class": 1, "receivedAt": "AT"}', "not both"),
        ('{"regulation": "gdpr", "subject": "a", "forget": [], "receivedAt": "AT"}', "give forget as an object"),
        ('{"regulation": "gdpr", "subject": "a", "receivedAt": 5}', "receivedAt is a time"),
        (
            '{"regulation": "gdpr", "subject": "a", "receivedAt": "AT", "statusCallbackUrls": "x"}',
            "a list of texts",
        ),
        ('{"regulation": "gdpr", "subject": "a", "receivedAt": "AT", "allowDuplicate": true}', "allowDuplicate"),
    ],
)
def test_bad_json_lines(line: str, words: str) -> None:
    good = json.dumps({"regulation": "gdpr", "subject": "Bob", "dataset": "d", "class": 0, "receivedAt": AT})
    bad, fine = imports.import_text(f"\n{line.replace('AT', AT)}\n{good}\n", "jsonl", actor=ANN).lines
    assert (bad.number, bad.result, fine.number, fine.result) == (2, "refused", 3, "filed")
    assert words in bad.detail


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds no line"),
        ("\n \n", "holds no line"),
        ("regulation,subject\n", "line 1: got the columns regulation, subject; expected"),
        ("regulation,subject,dataset,name\n", "line 1: got the columns"),
        ("regulation,subject,dataset,class,class\n", "line 1: got the columns"),
        ('"regulation\n', "line 1: "),
        ("x\n" * 100_002, "at most 100000 lines"),
    ],
)
def test_what_is_no_file_of_requests(text: str, words: str) -> None:
    with pytest.raises(WorkflowError, match=words):
        imports.import_text(text, "csv", actor=ANN)
    with refused("bad-file", 422):
        imports.receive_import(text, "csv", actor=ANN)


def table(count: int) -> str:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["regulation", "subject", "dataset", "class", "receivedAt"])
    writer.writerows(["gdpr", f"person {n}", "d", n % 10, AT] for n in range(count))
    return out.getvalue()


def test_an_interrupted_import_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    text = table(1_200)
    calls = []

    def fail(done: int, _total: int) -> None:
        calls.append(done)
        if done == 1_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        imports.import_text(text, "csv", actor=ANN, report=fail)
    assert calls == [500, 1_000]
    assert models.DeletionRequest.objects.count() == 1_000
    counts = imports.import_text(text, "csv", actor=ANN)
    assert (counts.count("already"), counts.count("filed")) == (1_000, 200)
    assert log.size() == 1_200
    holds()


def test_ten_thousand_lines_ask_the_database_few_questions(django_assert_max_num_queries: Any) -> None:
    """The time is bounded because the questions are: some twenty for each five hundred lines."""
    with django_assert_max_num_queries(2 * 30):
        imports.import_text(table(1_000), "csv", actor=ANN)


class TestByAWorker:
    def received(self, text: str, **more: Any) -> models.RequestImport:
        return imports.receive_import(text, "csv", actor=ANN, **more)

    def test_from_upload_to_report(self) -> None:
        row = self.received(HEADER + f"gdpr,Ada Lovelace,d,0,,,,{AT},,\nbad,Ada Lovelace,d,0,,,,{AT},,\n")
        assert models.Job.objects.get().kind == "import"
        assert imports.report_lines(row) is None
        told: list[tuple[int, int]] = []
        done = imports.run_import(row.uuid, lambda *a: told.append(a))
        assert (done.lines, done.filed, done.already, done.refused) == (2, 1, 0, 1)
        assert told == [(2, 2)]
        lines = imports.report_lines(done)
        assert lines is not None
        assert [line["result"] for line in lines] == ["filed", "refused"]
        assert imports.run_import(row.uuid, lambda *_: None) == done
        assert models.DeletionRequest.objects.count() == 1
        event = models.Event.objects.get(kind="requests.imported")
        assert (event.actor_name, event.data["refused"]) == ("ann", 1)

    def test_file_and_report_are_sealed_and_go(self) -> None:
        row = self.received(HEADER + f"Ada Lovelace,gdpr,d,0,,,,{AT},,\n")  # columns mixed up: a name in a refusal
        assert "Lovelace" not in str(list(models.RequestImport.objects.values()))
        file = models.SubjectRecord.objects.get()
        row = imports.run_import(row.uuid, lambda *_: None)
        file.refresh_from_db()
        assert bytes(file.ciphertext) == b""
        lines = imports.report_lines(row)
        assert lines is not None
        assert "Lovelace" in lines[0]["detail"]
        assert "Lovelace" not in str(list(models.RequestImport.objects.values()))
        assert imports.drop_reports() == 0
        with days_later(31):
            assert imports.drop_reports() == 1
            assert imports.drop_reports() == 0
        row.refresh_from_db()
        assert imports.report_lines(row) is None

    def test_a_bad_header_is_refused_before(self) -> None:
        with refused("bad-file", 422):
            self.received("a,b\n1,2\n")
        assert models.Job.objects.count() == 0

    def test_the_worker_task(self) -> None:
        from prover_worker import tasks

        row = self.received(HEADER + f"gdpr,Ada,d,0,,,,{AT},,\n", dry_run=True)
        tasks.import_requests(str(models.Job.objects.get().uuid))
        row.refresh_from_db()
        assert (models.Job.objects.get().state, row.filed, row.dry_run) == ("done", 1, True)
        assert models.DeletionRequest.objects.count() == 0
        assert queue.TASKS[models.Job.Kind.IMPORT] == tasks.import_requests.name


class TestCommand:
    def test_what_it_prints(self, tmp_path: Path) -> None:
        file, report, out = tmp_path / "requests.csv", tmp_path / "report.jsonl", StringIO()
        file.write_text("\ufeff" + HEADER + f"gdpr,Ada,d,0,,,,{AT},,\nhipaa,Bob,d,0,,,,{AT},,\n")
        with pytest.raises(CommandError, match="1 of 2 lines were refused"):
            call_command("import_requests", str(file), report=report, stdout=out)
        assert "line 3: got the regulation 'hipaa'" in out.getvalue()
        assert "1 filed, 0 filed before, 1 refused" in out.getvalue()
        lines = [json.loads(line) for line in report.read_text().splitlines()]
        assert [line["result"] for line in lines] == ["filed", "refused"]

    def test_dry(self, tmp_path: Path) -> None:
        file, out = tmp_path / "requests.jsonl", StringIO()
        line = {"regulation": "gdpr", "subject": "a", "dataset": "d", "class": 1, "receivedAt": AT}
        file.write_text(json.dumps(line))
        call_command("import_requests", str(file), dry_run=True, stdout=out)
        assert "1 would be filed" in out.getvalue()
        assert models.DeletionRequest.objects.count() == 0

    @pytest.mark.parametrize(("name", "content"), [("a.xlsx", b""), ("a.csv", b"\xff"), ("a.csv", b"")])
    def test_bad_files(self, tmp_path: Path, name: str, content: bytes) -> None:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CommandError):
            call_command("import_requests", str(tmp_path / name), stdout=StringIO())
        with pytest.raises(CommandError, match="cannot be read"):
            call_command("import_requests", str(tmp_path / "none.csv"), stdout=StringIO())


def test_a_received_date_in_the_file_counts() -> None:
    then = (timezone.now() - timedelta(days=10)).replace(microsecond=0)
    results(HEADER + f"ccpa,Ada,d,0,,,,{then.isoformat()},,\n")
    row = models.DeletionRequest.objects.get()
    assert (row.received_at, row.due_at) == (then, then + timedelta(days=45))
