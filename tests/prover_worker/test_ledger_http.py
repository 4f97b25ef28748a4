"""A ledger that is busy, away or refuses; a real server answers, or none."""

from datetime import UTC, datetime
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from prover_worker.errors import AgentError, LedgerAway
from prover_worker.ledger_client import LedgerClient
from prover_worker.ledger_http import LedgerHttp, retry_after

NOW = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)


@pytest.fixture
def server():
    """Answers with what stands in `answers`, one after the other: (status, headers, body)."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            status, headers, body = self.server.answers.pop(0)
            self.server.asked += 1
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        server.answers, server.asked = [], 0
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


def client(server, patience):
    return LedgerHttp(f"http://127.0.0.1:{server.server_address[1]}", patience=patience)


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_busy_ledger_is_asked_again(server, status):
    server.answers = [(status, {"Retry-After": "0"}, b""), (200, {}, b"yes")]
    assert client(server, 5).request("GET", "orders").content == b"yes"
    assert server.asked == 2


def test_a_ledger_that_asks_for_more_patience_than_there_is(server):
    """It is not asked again: the caller is told when it may be."""
    server.answers = [(429, {"Retry-After": "120"}, b'{"detail": "too many requests"}')]
    with pytest.raises(LedgerAway, match="refused GET orders with 429: too many requests") as caught:
        client(server, 5).request("GET", "orders")
    assert caught.value.retry_after == 120
    assert server.asked == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 500])
def test_a_refusal_is_final(server, status):
    server.answers = [(status, {}, b'{"detail": "because"}')]
    with pytest.raises(AgentError, match=f"refused GET orders with {status}: because") as caught:
        client(server, 5).request("GET", "orders")
    assert not isinstance(caught.value, LedgerAway)
    assert server.asked == 1


def test_a_refusal_without_a_reason_shows_what_came(server):
    server.answers = [(404, {}, b"<html>not here</html>")]
    with pytest.raises(AgentError, match="<html>not here</html>"):
        client(server, 5).request("GET", "orders")


def test_pieces_of_two_files_make_none(server):
    """The attack: a ledger, or whoever sits between, goes on with other bytes than it began with."""
    server.answers = [(200, {"Content-Length": "10"}, b"01234"), (206, {"Content-Length": "5"}, b"other")] * 2
    assert client(server, 5).fetch("blobs/x", '"x"') == b"01234other"
    with pytest.raises(AgentError, match="sent other bytes than those of SHA-256"):
        LedgerClient(f"http://127.0.0.1:{server.server_address[1]}").download(sha256(b"0123456789").hexdigest())
    assert server.asked == 4


def test_a_file_that_changed_on_the_way_comes_whole(server):
    server.answers = [(200, {"Content-Length": "10"}, b"01234"), (200, {"Content-Length": "3"}, b"new")]
    assert client(server, 5).fetch("blobs/x", '"x"') == b"new"


def test_nobody_there(server):
    server.shutdown()
    server.server_close()
    with pytest.raises(LedgerAway, match="cannot reach the ledger"):
        client(server, 0.1).request("GET", "orders")


@pytest.mark.parametrize("address", ["ledger.example", "ftp://ledger.example", "", "https://"])
def test_an_address_that_is_none(address):
    with pytest.raises(AgentError, match=r"expected an address such as https://ledger\.example"):
        LedgerHttp(address)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0), ("7", 7), ("999999999999", 3600), ("Sat, 31 Jan 2026 12:00:30 GMT", 30),
        ("Sat, 31 Jan 2026 11:00:00 GMT", 0), ("soon", None), ("-1", None), ("1.5", None), ("", None), (None, None),
        ("٣", None),
    ],
)  # fmt: skip
def test_retry_after(value, seconds):
    assert retry_after(value, NOW) == seconds


def test_a_client_that_nobody_uses_any_more_keeps_no_connection(server):
    """An agent that watches makes thousands of them."""
    server.answers = [(200, {}, b"")]
    http = client(server, 5)
    http.request("GET", "orders")
    inner = http._http
    assert not inner.is_closed
    del http
    assert inner.is_closed
