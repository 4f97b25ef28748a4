"""A request, its job and the statements of both are one trace, as a collector gets it, with nobody's name in it."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings
from django.contrib.auth.models import User
from django.core import checks
from django.db import connection
from django.test import Client as Browser
from django.utils import timezone
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from ledger import logs, models, queue, traces
from ledger.log import NotCosignedError
from ledger.workflow import claims
from ledger.workflow.errors import WorkflowError
from prover_worker import tasks
from tests.ledger.api.parts import by_officer, fresh
from tests.ledger.story import FORGET, Story
from tests.ledger.test_api import send
from tests.ledger.working import worker

PERSON = "Ada Lovelace of Marylebone"


class Collector:
    """Takes what an exporter sends."""

    def __init__(self) -> None:
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                collector.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Nothing."""

        self.bodies: list[bytes] = []
        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def spans(self) -> list[Any]:
        traces.flush()
        return [
            span
            for body in self.bodies
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def wait_for(self, name: str, count: int) -> list[Any]:
        """The spans of the one trace that begins with a span of this name, once there are so many."""
        end = time.monotonic() + 60
        while True:
            spans = self.spans()  # of other threads too, which may still be at work for another test
            ours = {span.trace_id for span in spans if span.name == name and not span.parent_span_id}
            assert len(ours) < 2
            found = [span for span in spans if span.trace_id in ours]
            if len(found) >= count:
                return found
            assert time.monotonic() < end, [span.name for span in spans]
            time.sleep(0.05)


def said(span: Any) -> dict[str, Any]:
    """Attributes."""
    values = {one.key: one.value for one in span.attributes}
    return {
        name: [one.string_value for one in value.array_value.values]
        or value.string_value or value.int_value for name, value in values.items()
    }  # fmt: skip


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    made = Collector()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", made.address)
    traces._provider.cache_clear()
    yield made
    provider = traces._provider()
    assert provider is not None
    provider.shutdown()
    traces._provider.cache_clear()
    made.server.shutdown()
    made.server.server_close()


@pytest.mark.django_db(transaction=True)
def test_request_job_and_statements_are_one_trace(
    collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A claim comes in by HTTP; a real worker takes the message from the real queue and logs the challenge."""
    story = Story(tmp_path)
    party = story.party()
    order = story.masked_window().orders.get()
    body = party.sign(party.claim(order))
    done, lines = threading.Event(), list[str]()
    collector.spans()
    collector.bodies.clear()

    @queue.app.task(name="tests.traces.challenge", shared=False)
    def challenge(job_id: str) -> None:
        job = queue.claim_job(job_id)
        assert job is not None
        claims.draw_challenge(job.target)
        queue.finish(job_id)
        lines.append(logs.JsonLines().format(logging.makeLogRecord({"msg": "at work"})))
        connection.close()
        done.set()

    monkeypatch.setitem(queue.TASKS, models.Job.Kind.CHALLENGE, "tests.traces.challenge")
    with worker():
        answer = send("POST", "/statements", body=body)
        assert answer.status_code == 201, answer.content
        assert done.wait(60)
        spans = collector.wait_for("POST api/v1/statements", 4)
        # As if the message had been lost: the one that the sweep sends goes on with the same trace.
        done.clear()
        long_ago = timezone.now() - timedelta(hours=1)
        models.Job.objects.filter(kind=models.Job.Kind.CHALLENGE).update(state="queued", queued_at=long_ago)
        assert queue.sweep() == 1
        assert done.wait(60)
        again = collector.wait_for("POST api/v1/statements", 5)
    del queue.app.tasks["tests.traces.challenge"]
    assert sorted(span.name for span in spans) == [
        "POST api/v1/statements", "log", "log", "tests.traces.challenge",
    ]  # fmt: skip
    by_name = {span.name: span for span in spans if span.name != "log"}
    request, work = by_name["POST api/v1/statements"], by_name["tests.traces.challenge"]
    runs = [span for span in again if span.name == "tests.traces.challenge"]
    assert len(runs) == 2
    assert (request.parent_span_id, work.parent_span_id) == (b"", request.span_id)
    job = models.Job.objects.get(kind=models.Job.Kind.CHALLENGE)
    assert said(request) == {
        "http.request.method": "POST", "http.route": "api/v1/statements", "http.response.status_code": 201,
    }  # fmt: skip
    assert said(work) == {"ledger.job": str(job.uuid)}
    statements = {said(span)["ledger.statements"][0]: span for span in spans if span.name == "log"}
    assert {kind: span.parent_span_id for kind, span in statements.items()} == {
        "claim": request.span_id, "challenge": work.span_id,
    }  # fmt: skip
    assert {run.parent_span_id for run in runs} == {request.span_id}
    for line in map(json.loads, lines):
        assert (line["trace"], line["request"]) == (request.trace_id.hex(), answer.headers["X-Request-Id"])


@pytest.mark.django_db
def test_nothing_personal_leaves(collector: Collector, story: Story) -> None:
    """Not who asked, not the officer, no address, and of an error not its text."""
    boss = User.objects.create(username="olga", is_staff=True, is_superuser=True)
    browser = Browser()
    browser.force_login(boss)
    filed = {"regulation": "gdpr", "subject": PERSON, "forget": FORGET}
    answer = by_officer("POST", "/requests", browser, filed, Idempotency_Key=fresh())
    assert answer.status_code == 201
    assert browser.get(f"/api/v1/requests/{answer.json()['uuid']}?secret=1").status_code in {200, 422}
    with pytest.raises(ValueError, match="Ada"), traces.span("at work"):
        raise ValueError(f"{PERSON} is not known")
    names = [span.name for span in collector.spans()]
    assert "POST api/v1/requests" in names
    everything = b"".join(collector.bodies)
    for secret in (PERSON, "Ada", "olga", answer.json()["uuid"], "secret=1", "is not known"):
        assert secret.encode() not in everything, secret
    failed = next(span for span in collector.spans() if span.name == "at work")
    assert said(failed) == {"error.type": "ValueError"}
    assert failed.status.code == 2
    assert not failed.events


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("error", [WorkflowError("gone", f"{PERSON} is gone"), RuntimeError(PERSON)])
def test_a_failed_attempt_is_seen_though_nothing_is_raised(
    collector: Collector, story: Story, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """The row keeps the words; the span of the job's attempt says the error's class. Waiting is no failure."""
    job = queue.enqueue(models.Job.Kind.CHALLENGE, story.model.uuid)
    for wrong, failed in ((NotCosignedError("wait"), False), (error, True)):
        collector.spans()
        collector.bodies.clear()

        def stumble(_target: object, wrong: Exception = wrong) -> None:
            raise wrong

        monkeypatch.setattr(claims, "draw_challenge", stumble)
        with contextlib.suppress(SystemExit):  # what nobody expected ends a worker's process
            tasks.challenge.apply([str(job.uuid)])
        (span,) = [one for one in collector.spans() if one.name == queue.TASK_CHALLENGE]
        assert span.status.code == (2 if failed else 0)
        blamed = {"error.type": type(error).__name__} if failed else {}
        assert said(span) == {"ledger.job": str(job.uuid)} | blamed
    job.refresh_from_db()
    assert PERSON in job.error
    assert PERSON.encode() not in b"".join(collector.bodies)


@pytest.mark.django_db
def test_whose_trace_goes_on(collector: Collector, settings: LazySettings) -> None:
    """The proxy's, where there is one; nobody else decides in which trace a request stands."""
    above = f"00-{'ab' * 16}-{'cd' * 8}-01"
    for https, expected in ((False, False), (True, True)):
        settings.HTTPS = https
        Browser().get("/health", headers={"traceparent": above})
        asked = [span for span in collector.spans() if span.name == "GET health"]
        assert (asked[-1].trace_id == bytes.fromhex("ab" * 16)) is expected


def test_without_a_collector_there_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    traces._provider.cache_clear()
    with traces.span("anything") as span:
        assert span is None
        assert (traces.parent(), traces.current()) == ("", {})
    for name, value in (("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")):
        with monkeypatch.context() as patch:
            patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
            assert traces.wanted()
            patch.setenv(name, value)
            assert not traces.wanted()
    traces._provider.cache_clear()


def test_a_collector_without_the_packages_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    assert "ledger.W022" not in {found.id for found in checks.run_checks()}
    monkeypatch.setattr(traces, "find_spec", lambda _name: None)
    assert "ledger.W022" in {found.id for found in checks.run_checks()}
