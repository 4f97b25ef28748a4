"""How `watch` waits: a real server answers as ledgers of today, busy ones and old ones do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest

from prover_worker import watching
from prover_worker.errors import AgentError, Refused
from prover_worker.ledger_client import LedgerClient
from prover_worker.watching import Bell


class Waiter:
    """As much of an agent as waits."""

    def __init__(self, server: HTTPServer) -> None:
        self.ledger = LedgerClient(f"http://127.0.0.1:{server.server_address[1]}")

    def news(self, after: int, wait: int) -> Any:
        return self.ledger.news(after, wait)

    def report(self, stage: str, done: int, total: int) -> None:
        """Nothing."""


@pytest.fixture
def server() -> Iterator[Any]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.server.asked.append(self.path)
            status, headers, body = self.server.answers.pop(0)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        server.answers, server.asked = [], []
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    found: list[float] = []
    monkeypatch.setattr(watching.time, "sleep", found.append)
    return found


def said(last: int) -> dict[str, Any]:
    return {"items": [], "last": last}


def test_each_question_goes_on_from_the_last_answer(server: Any, slept: list[float]) -> None:
    server.answers = [(200, {}, said(7)), (200, {}, said(9))]
    bell = Bell()
    for _ in range(2):
        bell.wait(Waiter(server), ["an order"])
    assert server.asked == [f"/api/v1/me/events?after={after}&wait=25" for after in (0, 7)]
    assert slept == []


def test_a_ledger_without_a_place_to_wait_is_left_alone(server: Any, slept: list[float]) -> None:
    server.answers = [(200, {"Retry-After": "5"}, said(0))]
    Bell().wait(Waiter(server), [])
    assert slept == [5.0]


def test_a_ledger_that_does_not_wait_is_not_hammered(server: Any, slept: list[float]) -> None:
    """The attack: it answers at once, again and again, with numbers that stand still or run backwards."""
    server.answers = [(200, {}, said(last)) for last in (3, 3, 2, 3)]
    bell = Bell()
    for _ in range(4):
        bell.wait(Waiter(server), [])
    assert slept == [0.5, 0.75, 1.125]


def test_an_old_ledger_is_asked_as_before(server: Any, slept: list[float]) -> None:
    server.answers = [(404, {}, {"detail": "nothing here"})]
    bell = Bell()
    for _ in range(3):
        bell.wait(Waiter(server), [])
    assert (len(server.asked), slept) == (1, [0.5, 0.75, 1.125])


def test_what_is_no_answer(server: Any) -> None:
    server.answers = [(200, {}, ["odd"]), (403, {}, {"detail": "no"})]
    with pytest.raises(AgentError, match="events that is none"):
        Bell().wait(Waiter(server), [])
    with pytest.raises(Refused, match="403"):
        Bell().wait(Waiter(server), [])
