"""Downloads that broke off and go on: what ranges are answered, and an agent on a line that breaks."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from ledger import blobs, log
from ledger.workflow import bundle
from prover_worker.errors import LedgerAway
from prover_worker.ledger_client import LedgerClient
from tests.bundles import Bundle
from tests.ledger.api.parts import API, by_client, officer
from tests.ledger.story import Party, Story
from tests.ledger.test_api import expect_problem, send

DATA = bytes(range(100))
DIGEST = hashlib.sha256(DATA).hexdigest()
TAG = f'"{DIGEST}"'
OTHER = f'"{"0" * 64}"'


@pytest.fixture
def party(story: Story) -> Party:
    party = story.party("one", committed=False)
    blobs.put(DATA, party.row)
    return party


def get(party: Party, **headers: str) -> Any:
    return send(
        "GET", f"/blobs/{DIGEST}", party, **{name.replace("_", "-"): said for name, said in headers.items()}
    )


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-0", 0, 0), ("bytes=10-19", 10, 19), ("bytes=90-", 90, 99), ("bytes=-10", 90, 99),
        ("bytes=99-99", 99, 99), ("bytes=50-1000", 50, 99), ("bytes=-1000", 0, 99), ("BYTES= 1-2 ,", 1, 2),
    ],
)  # fmt: skip
def test_one_range(party: Party, asked: str, first: int, last: int) -> None:
    answer = get(party, Range=asked)
    assert (answer.status_code, answer.getvalue()) == (206, DATA[first : last + 1])
    assert answer.headers["Content-Range"] == f"bytes {first}-{last}/100"
    assert answer.headers["Content-Length"] == str(last + 1 - first)
    assert (answer.headers["ETag"], answer.headers["Accept-Ranges"]) == (TAG, "bytes")


@pytest.mark.parametrize(
    "asked",
    ["", "bytes", "bytes=", "bytes=-", "bytes=0-1,5-6", "bytes=9-3", "bytes=0x1-2", "bytes=1-2-3", "bytes=²-",
     "lines=0-1", "bytes=" + "9" * 5000 + "-"],
)  # fmt: skip
def test_what_is_no_range_of_ours_is_ignored(party: Party, asked: str) -> None:
    answer = get(party, Range=asked)
    assert (answer.status_code, answer.getvalue()) == (200, DATA)
    assert "Content-Range" not in answer.headers


@pytest.mark.parametrize("asked", ["bytes=100-", "bytes=100-200", "bytes=-0", "bytes=" + "9" * 18 + "-"])
def test_bytes_that_the_file_does_not_have(party: Party, asked: str) -> None:
    answer = get(party, Range=asked)
    assert "of a file of 100 bytes" in expect_problem(answer, 416, "no-such-range")
    assert answer.headers["Content-Range"] == "bytes */100"


def test_only_the_same_file_goes_on(party: Party) -> None:
    """RFC 9110 section 13.1.5: by a strong comparison, and a date is none of a file that has a tag."""
    asked = {"Range": "bytes=90-"}
    assert get(party, **asked, If_Range=TAG).getvalue() == DATA[90:]
    for other in (OTHER, f"W/{TAG}", "Sat, 29 Oct 2011 19:43:31 GMT"):
        answer = get(party, **asked, If_Range=other)
        assert (answer.status_code, answer.getvalue()) == (200, DATA)
    assert get(party, **asked, If_None_Match=TAG).status_code == 304
    head = by_client("HEAD", f"/blobs/{DIGEST}", party, **asked)
    assert (head.status_code, head.headers["Content-Length"]) == (200, "100")
    head.close()


def test_nobody_gets_a_piece_of_anothers_file(story: Story, party: Party) -> None:
    thief = story.party("thief", committed=False)
    expect_problem(by_client("GET", f"/blobs/{DIGEST}", thief, Range="bytes=0-0"), 404, "not-found")


def test_a_bundle_goes_on_as_long_as_it_is_the_same(story: Story) -> None:
    """The log has gone on: under the size that it was made for it is the same, without a size it is another one."""
    window = story.masked_window()
    auditor = officer("auditor", "view_window")
    address = f"{API}/windows/{window.uuid}/bundle"
    whole = auditor.get(address)
    data, tag = whole.getvalue(), whole.headers["ETag"]
    assert tag == f'"{hashlib.sha256(data).hexdigest()}"'
    size = Bundle.of(data).manifest["size"]
    named = f"{address}?size={size}"
    assert auditor.get(named).getvalue() == data
    asked = {"Range": f"bytes={len(data) // 2}-", "If-Range": tag}
    story.party("another")
    log.publish_checkpoint()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bundle, "write_bundle", None)  # whoever makes it anew fails
        rest = auditor.get(named, headers=asked)
    assert (rest.status_code, rest.getvalue()) == (206, data[len(data) // 2 :])
    assert rest.headers["Content-Disposition"] == whole.headers["Content-Disposition"]
    other = auditor.get(address, headers=asked)
    assert other.status_code == 200
    assert other.getvalue() != data
    expect_problem(officer("stranger").get(named), 403, "permission-denied")  # kept, but not for everybody


class BadLine:
    """Between agent and ledger: hangs up after so many bytes of each answer, as often as said."""

    def __init__(self, address: str, bytes_each: int, breaks: int) -> None:
        parts = urlsplit(address)
        self._there = (parts.hostname, parts.port)
        self._bytes, self.breaks = bytes_each, breaks
        self._door = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._door.getsockname()[1]}"
        self.asked: list[str] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._door.close()

    def _serve(self) -> None:
        while True:
            try:
                here = self._door.accept()[0]
            except OSError:
                return
            threading.Thread(target=self._pass_on, args=(here,), daemon=True).start()

    def _pass_on(self, here: socket.socket) -> None:
        with here, socket.create_connection(self._there) as there:
            while question := here.recv(65536):
                lines = question.decode("latin-1").split("\r\n")
                self.asked += [line for line in lines if line.lower().startswith("range:")] or ["all"]
                there.sendall(question)
                if self._answer(here, there):
                    return

    def _answer(self, here: socket.socket, there: socket.socket) -> bool:
        """Pass on one answer, or some of it; whether that was the line's end."""
        head = b""
        while b"\r\n\r\n" not in head:
            head += there.recv(1)
        (length,) = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        left = int(length.split(b":")[1])
        broken, self.breaks = self.breaks > 0 and left > self._bytes, self.breaks - 1
        left = self._bytes if broken else left
        here.sendall(head)
        while left and (data := there.recv(min(left, 65536))):
            here.sendall(data)
            left -= len(data)
        return broken


@pytest.fixture
def lines(live_server: Any) -> Iterator[Any]:
    made: list[BadLine] = []

    def make(bytes_each: int, breaks: int) -> BadLine:
        made.append(BadLine(live_server.url, bytes_each, breaks))
        return made[-1]

    yield make
    for line in made:
        line.close()


@pytest.mark.django_db(transaction=True)
def test_the_agent_goes_on_where_the_line_broke(lines: Any, story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prover_worker.ledger_http._FIRST_PAUSE", 0.01)
    party, data = story.party(committed=False), os.urandom(1_000_000)
    digest = blobs.put(data, party.row)[0].sha256
    line = lines(400_000, 2)
    assert LedgerClient(line.address, party.key).download(digest) == data
    assert line.asked == ["all", "Range: bytes=400000-", "Range: bytes=800000-"]
    # A line that breaks sooner than the patience allows repetitions: each byte that came is worth another try.
    short = lines(300_000, 3)
    hasty = LedgerClient(short.address, party.key)
    monkeypatch.setattr(hasty._http, "_patience", 0.0)
    assert hasty.download(digest) == data
    assert len(short.asked) == 4
    dead = lines(0, 1000)
    gives_up = LedgerClient(dead.address, party.key)
    monkeypatch.setattr(gives_up._http, "_patience", 0.0)
    with pytest.raises(LedgerAway):
        gives_up.download(digest)
    assert dead.asked == ["all"]
