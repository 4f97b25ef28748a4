"""Posting to addresses that others choose: nothing reaches our own network, whatever the name resolves to."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator

import pytest

from ledger import outbound
from ledger.outbound import OutboundError

PUBLIC = "93.184.215.14"


class Receiver:
    """A real HTTP server that keeps what it was sent and answers as it is told."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.status, self.location = 200, ""
        kept = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                kept.requests.append((self.path, dict(self.headers), body))
                self.send_response(kept.status)
                if kept.location:
                    self.send_header("Location", kept.location)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *_args: object) -> None:
                """Quiet."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://localhost:{self.server.server_port}/hook"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",
        "224.0.0.1", "240.0.0.1", "192.0.2.1", "255.255.255.255", "::1", "::", "fe80::1%eth0", "fc00::1", "ff02::1",
        "::ffff:10.0.0.1", "::ffff:127.0.0.1", "64:ff9b::a00:1", "2002:7f00:1::", "2001:db8::1", "no address",
    ],
)  # fmt: skip
def test_what_is_not_public_gets_nothing(address: str) -> None:
    with pytest.raises(OutboundError, match="not a public address; nothing was sent"):
        outbound.post("https://hooks.example/x", b"{}", {}, resolver=lambda *_: [address])


def test_one_private_address_among_public_ones_is_enough() -> None:
    with pytest.raises(OutboundError, match=r"10\.0\.0\.1"):
        outbound.post("https://hooks.example/x", b"{}", {}, resolver=lambda *_: [PUBLIC, "10.0.0.1"])
    with pytest.raises(OutboundError, match="nothing"):
        outbound.post("https://hooks.example/x", b"{}", {}, resolver=lambda *_: [])


@pytest.mark.parametrize("address", ["8.8.8.8", PUBLIC, "2606:4700:4700::1111", "::ffff:8.8.8.8"])
def test_public_addresses_are(address: str) -> None:
    assert outbound.public_address(address)


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example/x", "ftp://hooks.example/x", "https://", "https://me@hooks.example/",
        "//hooks.example", "https://hooks.example/#x", "https://hooks.example:22/", "https://hooks.example:99999/", "https://[::1/",
        "file:///etc/passwd",
    ],
)  # fmt: skip
def test_addresses_that_cannot_be_posted_to(url: str) -> None:
    with pytest.raises(OutboundError):
        outbound.check_url(url, allow_private=False)


def test_a_literal_private_address_is_refused_without_a_name() -> None:
    with pytest.raises(OutboundError, match="not a public address"):
        outbound.post("https://127.0.0.1:8443/x", b"{}", {})


def test_the_name_is_resolved_once_so_rebinding_leads_nowhere(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The attacker's name server says a public address first and ours a moment later."""
    answers = iter([[PUBLIC], ["127.0.0.1"], ["127.0.0.1"]])
    asked: list[str] = []
    reached: list[str] = []

    def rebinding(host: str, _port: int) -> list[str]:
        asked.append(host)
        return next(answers)

    def dial(address: tuple[str, int], *_args: object, **_kwargs: object) -> None:
        reached.append(address[0])
        raise OSError("this test opens no connection to the internet")

    monkeypatch.setattr("socket.create_connection", dial)
    with pytest.raises(OutboundError, match="did not answer"):
        outbound.post(f"https://hooks.example:{receiver.server.server_port}/x", b"{}", {}, resolver=rebinding)
    assert asked == ["hooks.example"]
    assert reached == [PUBLIC]
    assert receiver.requests == []


def test_redirects_are_not_followed(receiver: Receiver) -> None:
    receiver.status, receiver.location = 302, receiver.url + "/elsewhere"
    assert outbound.post(receiver.url, b"{}", {}, allow_private=True) == 302
    assert [path for path, _, _ in receiver.requests] == ["/hook"]


def test_it_arrives_with_the_name_in_the_host_header(receiver: Receiver) -> None:
    assert outbound.post(receiver.url + "?a=b", b'{"x":1}', {"webhook-id": "1"}, allow_private=True) == 200
    (path, headers, body), *more = receiver.requests
    assert (path, body, more) == ("/hook?a=b", b'{"x":1}', [])
    assert headers["Host"] == f"localhost:{receiver.server.server_port}"
    assert headers["webhook-id"] == "1"


def test_nobody_there(receiver: Receiver) -> None:
    receiver.close()
    with pytest.raises(OutboundError, match="localhost did not answer"):
        outbound.post(receiver.url, b"{}", {}, allow_private=True, resolver=lambda *_: ["127.0.0.1"])
