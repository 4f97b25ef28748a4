"""Reports as jobs: made, logged, fetched by links that end; and who tries to get at them."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import signal
import time
import uuid
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from django.test import Client as Browser
from django.utils import timezone

from ledger import log
from ledger.fsck.errors import FsckError
from ledger.fsck.run import rebuild
from ledger.models import Export, Job
from ledger.reports import make, pdf
from ledger.statements import predicates
from ledger.statements.errors import RuleError
from ledger.statements.rules import check as check_rule
from ledger.statements.story import Story as Rules
from ledger.workflow import erase, exports, requests
from prover_worker import tasks
from tests.ledger.api.parts import by_officer, fresh, officer
from tests.ledger.story import FORGET, Story, nobody
from tests.ledger.test_log_writers import in_child

PERSON = "Renate Müller-Özdemir"


def asked(browser: Browser, **body: object) -> Export:
    answer = by_officer("POST", "/exports", browser, body, Idempotency_Key=fresh())
    assert answer.status_code == 202, answer.content
    return Export.objects.get(uuid=answer.json()["uuid"])


def made(row: Export) -> Export:
    tasks.export(str(Job.objects.get(kind=Job.Kind.EXPORT, target=row.uuid).uuid))
    row.refresh_from_db()
    return row


def test_an_export_from_asking_to_its_file(story: Story) -> None:
    window = story.masked_window()
    browser = officer("officer", "add_export", "view_export")
    row = asked(browser, scope="window", about=str(window.uuid), format="json")
    assert by_officer("GET", f"/exports/{row.uuid}/link", browser).status_code == 409
    row = made(row)
    assert row.entry is not None
    said = log.statement(row.entry).predicate
    assert isinstance(said, predicates.AuditReport)
    shown = by_officer("GET", f"/exports/{row.uuid}", browser).json()
    assert (shown["state"], shown["sha256"], shown["available"]) == ("done", said.sha256, True)
    url = by_officer("GET", f"/exports/{row.uuid}/link", browser).json()["url"]
    answer = Browser().get(url)  # whoever holds the link needs no session
    report = answer.getvalue()
    assert hashlib.sha256(report).hexdigest() == said.sha256
    rest = Browser().get(url, headers={"Range": "bytes=100-", "If-Range": answer.headers["ETag"]})
    assert (rest.status_code, rest.getvalue()) == (206, report[100:])
    assert json.loads(report)["log"]["size"] == said.covers <= row.entry.index
    size = log.size()
    job = Job.objects.get(target=row.uuid)
    Job.objects.filter(pk=job.pk).update(state=Job.State.QUEUED)  # a message that came twice
    made(row)
    assert log.size() == size
    rebuild(lambda *_: None)
    Export.objects.filter(pk=row.pk).update(sha256="0" * 64)
    with pytest.raises(FsckError, match="export"):
        rebuild(lambda *_: None)


STEPS = {"collect": make, "_bundle_of": make, "render": pdf, "record_export": make}


def worker(row: Export, noted: Path, stop_at: str = "") -> int:
    """A process that does the job of an export as workers do; it notes each step that it begins in a file, and
    stands still at one.
    """

    def noting(name: str, real: Callable[..., object]) -> Callable[..., object]:
        def step(*args: object, **kwargs: object) -> object:
            with noted.open("a") as file:
                file.write(f"{name}\n")
            if name == stop_at:
                signal.pause()
            return real(*args, **kwargs)

        return step

    def work() -> None:
        for name, module in STEPS.items():
            setattr(module, name, noting(name, getattr(module, name)))
        made(row)

    return in_child(work)


def killed_at(step: str, row: Export, folder: Path) -> list[str]:
    """A worker that gets `kill -9` when it has come to this step, and its lease runs out; returns what it began."""
    noted = folder / f"killed at {step}"
    noted.touch()
    child, deadline = worker(row, noted, step), time.monotonic() + 60
    while step not in noted.read_text().splitlines():
        assert time.monotonic() < deadline, f"the worker began {noted.read_text()!r}, never {step}"
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    idle = folder / f"while {step} was leased"
    assert os.waitpid(worker(row, idle), 0)[1] == 0
    assert not idle.exists(), "nobody takes up what is still leased"
    Job.objects.filter(target=row.uuid).update(lease_until=timezone.now() - timedelta(seconds=1))
    return noted.read_text().splitlines()


@pytest.mark.django_db(transaction=True)
def test_the_next_worker_goes_on_where_one_was_killed(story: Story, monkeypatch, tmp_path: Path) -> None:
    """kill -9 in the middle of each step in turn: no step that was done is done again, and there is one report."""
    window = story.masked_window()
    row = asked(officer("o", "add_export", "view_export"), scope="window", about=str(window.uuid))
    assert killed_at("collect", row, tmp_path) == ["collect"]
    assert row.steps.count() == 0
    assert killed_at("_bundle_of", row, tmp_path) == ["collect", "_bundle_of"]
    size = log.size()
    requests.file_request("gdpr", PERSON, FORGET)  # what happens afterwards is not in the report any more
    assert killed_at("render", row, tmp_path) == ["_bundle_of", "render"]
    kept = [bytes(step.file.ciphertext) for step in row.steps.order_by("name")]
    assert len(kept) == 2
    assert all(str(window.uuid).encode() not in one for one in kept), "what is kept is sealed"
    Job.objects.update(attempts=0)
    began: list[str] = []
    for name, module in STEPS.items():  # the last one is this process: typst's threads do not outlive a fork
        real = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *a, real=real, name=name, **k: began.append(name) or real(*a, **k))
    row = made(row)
    assert began == ["render", "record_export"]
    assert row.entry is not None
    said = log.statement(row.entry).predicate
    assert isinstance(said, predicates.AuditReport)
    assert said.covers <= size
    assert exports.read_file(row)[:5] == b"%PDF-"
    assert log.size() == size + 2
    assert row.steps.count() == 0, "nothing is left of the steps"
    rebuild(lambda *_: None)


def test_parts_that_nobody_takes_up_again_are_destroyed(story: Story, settings) -> None:
    row = asked(officer("o", "add_export", "view_export"), scope="window", about=str(story.masked_window().uuid))
    exports.keep_step(row.uuid, "report", b"part", log.size())
    exports.keep_step(row.uuid, "report", b"another", log.size())
    assert exports.kept_step(row.uuid, "report") == b"part"
    exports.drop_files()
    file = row.steps.get().file
    settings.LEDGER_EXPORT_DAYS = 0
    exports.drop_files()
    file.refresh_from_db()
    assert (row.steps.count(), bytes(file.ciphertext)) == (0, b"")
    assert exports.kept_step(row.uuid, "report") is None


def test_links_end(story: Story, settings) -> None:
    user = officer("officer", "add_export", "view_export")
    row = made(asked(user, scope="window", about=str(story.masked_window().uuid), format="csv"))
    url = by_officer("GET", f"/exports/{row.uuid}/link", user).json()["url"]
    assert Browser().get(url).status_code == 200
    assert Browser().get(url[:-1] + ("A" if url[-1] != "A" else "B")).status_code == 404
    officer("officer")  # the account loses its permissions
    assert Browser().get(url).status_code == 404
    officer("officer", "view_export")
    settings.LEDGER_EXPORT_LINK_SECONDS = -1
    assert Browser().get(url).status_code == 404
    settings.LEDGER_EXPORT_LINK_SECONDS = 600
    Export.objects.update(expires_at=timezone.now())
    assert exports.drop_files() == 1
    assert Browser().get(url).status_code == 404
    assert exports.drop_files() == 0
    rebuild(lambda *_: None)


def test_persons_are_named_to_those_who_may_see_them(story: Story) -> None:
    request = requests.file_request("gdpr", PERSON, FORGET)
    auditor = officer("auditor", "view_export", "add_export")
    trusted = officer("trusted", "view_export", "add_export", "reveal_deletionrequest")
    body = {"scope": "request", "about": str(request.uuid), "format": "json"}
    named = body | {"personalData": True, "reason": "court-order"}
    for refused, status in ((named, 403), (body | {"personalData": True}, 422), (body | {"reason": "x"}, 422)):
        assert by_officer("POST", "/exports", auditor, refused, Idempotency_Key=fresh()).status_code == status
    text = named | {"reason": "Renate asked"}
    assert by_officer("POST", "/exports", trusted, text, Idempotency_Key=fresh()).status_code == 422
    row = made(asked(trusted, **named))
    assert PERSON in exports.read_file(row).decode()
    assert PERSON not in exports.read_file(made(asked(auditor, **body))).decode()
    assert by_officer("GET", f"/exports/{row.uuid}/link", auditor).status_code == 403
    assert row.entry is not None
    payload = base64.b64decode(json.loads(bytes(row.entry.envelope))["payload"]).decode()
    assert '"personalData":true' in payload
    assert '"reason":"court-order"' in payload
    assert "Renate" not in payload
    url = by_officer("GET", f"/exports/{row.uuid}/link", trusted).json()["url"]
    requests.decide_request(request.uuid, "denied", "no-match")
    erase.erase(request.uuid, "subject-asked")
    assert Browser().get(url).status_code == 404, "the file goes with the person"


def test_a_person_erased_meanwhile_is_in_no_report(story: Story) -> None:
    request = requests.file_request("gdpr", PERSON, FORGET)
    row = asked(
        officer("t", "view_export", "add_export", "reveal_deletionrequest"),
        scope="request", about=str(request.uuid), format="json", personalData=True, reason="court-order",
    )  # fmt: skip
    about = make.About(scope="request", id=str(request.uuid))
    report, data = make.make(row.uuid, about, "json", personal_data=True)
    exports.keep_step(row.uuid, "report", data, report.log.size)
    file = row.steps.get().file
    requests.decide_request(request.uuid, "denied", "no-match")
    erase.erase(request.uuid, "subject-asked")
    file.refresh_from_db()
    assert (bytes(file.ciphertext), row.steps.count()) == (b"", 0), "parts go with the person too"
    with pytest.raises(exports.OvertakenError):
        exports.record_export(row.uuid, data, report.log.size)
    with pytest.raises(exports.OvertakenError):
        exports.keep_step(row.uuid, "report", data, report.log.size)
    assert PERSON not in exports.read_file(made(row)).decode()


def test_what_cannot_be_asked_for(story: Story) -> None:
    browser = officer("o", "add_export", "view_export")
    period = {"scope": "period", "since": "2026-01-01T00:00:00Z"}
    for body, status in (
        ({"scope": "window", "about": nobody()}, 404),
        ({"scope": "window"}, 422),
        (period, 422),
        (period | {"until": "2025-01-01T00:00:00Z"}, 422),
        (period | {"until": "2027-01-01T00:00:00Z", "about": nobody()}, 422),
    ):
        assert by_officer("POST", "/exports", browser, body, Idempotency_Key=fresh()).status_code == status, body
    assert Export.objects.count() == Job.objects.count() == 0


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"about": None}, "does not name its window"),
        ({"covers": 6}, "cannot have seen"),
        ({"personal_data": True}, "reason"),
        ({"reason": "court-order"}, "reason"),
        ({"scope": "period"}, "without beginning and end"),
    ],
)
def test_statements_that_no_report_can_make(changes: dict[str, object], complaint: str) -> None:
    said = predicates.AuditReport(
        report=str(uuid.uuid4()), scope="window", about=nobody(), form="pdf", sha256="0" * 64, size=1, covers=5,
        made_at=timezone.now(),
    )  # fmt: skip
    check_rule(Rules(), 5, said)
    with pytest.raises(RuleError, match=complaint):
        check_rule(Rules(), 5, said.model_copy(update=changes))
