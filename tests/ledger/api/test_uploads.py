"""Files in parts: interrupted, resumed, attacked, left behind; by hand and by the agent."""

from __future__ import annotations

import hashlib
import os
from typing import Any

import pytest
from django.conf import LazySettings
from django.test import Client as Browser

from ledger import blobs, uploads
from ledger.models import Blob, Upload
from ledger.shelf import shelf
from ledger.statements import httpsig
from ledger.workflow import housekeeping
from prover_worker.errors import AgentError, LedgerAway
from prover_worker.ledger_http import LedgerHttp
from prover_worker.uploading import WHOLE, upload
from tests.ledger.api.parts import API, HOST, by_client
from tests.ledger.story import Party, Story
from tests.ledger.test_api import expect_problem

PART = 64 * 1024
DATA = os.urandom(3 * PART + 5)
DIGEST = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def party(story: Story) -> Party:
    return story.party("one", committed=False)


def begin(party: Party, data: bytes = DATA, **changes: Any) -> Any:
    said = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "partSize": PART} | changes
    return by_client("POST", "/uploads", party, said)


def address(answer: Any) -> str:
    return f"/uploads/{answer.json()['id']}"


def part(number: int, data: bytes = DATA) -> bytes:
    return data[(number - 1) * PART : number * PART]


def send(party: Party, to: str, *numbers: int) -> None:
    for number in numbers:
        assert by_client("PUT", f"{to}/parts/{number}", party, part(number)).status_code == 200


def received(answer: Any) -> dict[int, str]:
    return {each["number"]: each["sha256"] for each in answer.json()["received"]}


def complete(party: Party, to: str) -> Any:
    return by_client("POST", f"{to}/complete", party, {})


def on_disk() -> list[str]:
    return [str(name) for name in uploads.all_folders()]


def test_interrupted_and_resumed(party: Party) -> None:
    """After the break the client knows no address: it finds the upload by the file, and sends what is missing."""
    first = begin(party)
    assert (first.status_code, first.json()["parts"], first.json()["partSize"]) == (201, 4, PART)
    send(party, address(first), 3, 1)
    assert "2 parts are not there: 2, 4" in expect_problem(complete(party, address(first)), 409, "parts-missing")
    again = begin(party)
    assert (again.status_code, address(again)) == (200, address(first))
    assert received(again) == {number: hashlib.sha256(part(number)).hexdigest() for number in (1, 3)}
    send(party, address(again), 2, 4)
    done = complete(party, address(again))
    assert (done.status_code, done.json()) == (201, {"sha256": DIGEST, "size": len(DATA)})
    assert blobs.read(DIGEST) == DATA
    assert blobs.owned_by(DIGEST, party.row)
    assert (Upload.objects.count(), on_disk()) == (0, [])
    expect_problem(complete(party, address(again)), 404, "unknown-upload")
    assert begin(party).json()["complete"] is True


def test_a_part_that_changed_on_the_way(party: Party) -> None:
    """Its digest is signed: neither other bytes nor other bytes with their own digest are taken."""
    path = f"{API}{address(begin(party))}/parts/1"
    signed = httpsig.sign_request("PUT", HOST + path, part(1), party.key)
    other = part(2)
    forged = signed | {"Content-Digest": httpsig.sign_request("PUT", HOST, other, party.key)["Content-Digest"]}
    for headers in (signed, forged):
        refused = Browser().generic("PUT", path, other, "application/octet-stream", headers=headers)
        expect_problem(refused, 401, "authentication-failed")
    assert uploads.parts(Upload.objects.get().uuid) == []


def test_a_whole_that_is_not_what_was_announced(party: Party) -> None:
    """The wrong part can be found and replaced."""
    to = address(begin(party))
    send(party, to, 1, 2, 3, 4)
    blobs.path(DIGEST).unlink(missing_ok=True)  # another test's
    by_client("PUT", f"{to}/parts/2", party, part(3))
    expect_problem(complete(party, to), 422, "wrong-digest")
    assert not Blob.objects.filter(sha256=DIGEST).exists()
    assert not blobs.path(DIGEST).exists()
    assert received(by_client("GET", to, party))[2] == hashlib.sha256(part(3)).hexdigest()
    send(party, to, 2)
    assert complete(party, to).status_code == 201


def test_another_clients_upload_does_not_exist(story: Story, party: Party) -> None:
    """Nor does knowing a digest give anybody the file."""
    thief, to = story.party("thief", committed=False), address(begin(party))
    send(party, to, 1, 2, 3, 4)
    for method, path in (("GET", to), ("DELETE", to), ("PUT", f"{to}/parts/1"), ("POST", f"{to}/complete")):
        body: Any = part(1) if method == "PUT" else {} if method == "POST" else b""
        expect_problem(by_client(method, path, thief, body), 404, "unknown-upload")
    assert complete(party, to).status_code == 201
    own = begin(thief)
    assert (own.status_code, own.json()["complete"], received(own)) == (201, False, {})
    assert not blobs.readable_by(DIGEST, thief.row)


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"size": 2**40}, 413, "too-large"),
        ({"size": 1000 * PART + 1}, 422, "too-many-parts"),
        ({"partSize": 1}, 422, "bad-part-size"),
        ({"partSize": 2**30}, 422, "bad-part-size"),
        ({"size": 0}, 422, "bad-input"),
        ({"sha256": "../../etc/passwd"}, 422, "bad-input"),
    ],
)
def test_uploads_that_cannot_be(party: Party, changes: dict[str, Any], status: int, code: str) -> None:
    expect_problem(begin(party, **changes), status, code)
    assert not Upload.objects.exists()


def test_parts_that_cannot_be(party: Party, settings: LazySettings) -> None:
    to = address(begin(party))
    for number in (0, 5, 10**30):
        expect_problem(by_client("PUT", f"{to}/parts/{number}", party, part(1)), 422, "no-such-part")
    expect_problem(by_client("PUT", f"{to}/parts/4", party, part(1)), 422, "wrong-size")
    settings.LEDGER_PART_LIMIT = PART
    expect_problem(by_client("PUT", f"{to}/parts/1", party, b"x" * (PART + 1)), 413, "too-large")
    assert on_disk() == []


def test_nobody_fills_the_disk(story: Story, party: Party, settings: LazySettings) -> None:
    """What is announced counts as if it were there, whichever way it comes; others are not concerned."""
    settings.LEDGER_UPLOADS_OPEN = 2
    first = begin(party)
    begin(party, b"x" * PART)
    assert "DELETE one" in expect_problem(begin(party, b"y" * PART), 429, "too-many-uploads")
    assert begin(party).status_code == 200  # the one that is under way is still found
    settings.LEDGER_CLIENT_QUOTA = len(DATA) + PART + 10
    assert by_client("DELETE", address(begin(party, b"x" * PART)), party).status_code == 204
    expect_problem(begin(party, b"y" * PART + b"y" * 11), 413, "quota-exceeded")
    large, small = b"z" * (PART + 11), b"z" * (PART + 10)
    name = hashlib.sha256(large).hexdigest()
    expect_problem(by_client("PUT", f"/blobs/{name}", party, large), 413, "quota-exceeded")
    assert by_client("PUT", f"/blobs/{hashlib.sha256(small).hexdigest()}", party, small).status_code == 201
    assert begin(story.party("two", committed=False), b"y" * PART).status_code == 201
    send(party, address(first), 1, 2, 3, 4)
    assert complete(party, address(first)).status_code == 201  # room that was promised is there


def test_what_is_left_behind_goes(party: Party) -> None:
    old, kept = address(begin(party)), address(begin(party, b"x" * PART))
    send(party, old, 1)
    assert by_client("PUT", f"{kept}/parts/1", party, b"x" * PART).status_code == 200
    Upload.objects.filter(sha256=DIGEST).update(expires_at="2026-01-01T00:00:00Z")
    expect_problem(by_client("PUT", f"{old}/parts/2", party, part(2)), 404, "unknown-upload")
    uploads.draft(Upload(sha256="").uuid, b"of an upload whose row is gone")
    housekeeping.tidy()
    assert [f"/uploads/{name}" for name in on_disk()] == [kept]
    assert Upload.objects.count() == 1
    by_client("DELETE", kept, party)
    assert (on_disk(), Upload.objects.count()) == ([], 0)


class Line(LedgerHttp):
    """Counts parts, and breaks before one of them."""

    def __init__(self, *args: Any, breaks_at: int = 0) -> None:
        super().__init__(*args)
        self.breaks_at, self.sent = breaks_at, list[str]()

    def request(self, method: str, path: str, **arguments: Any) -> Any:
        if "/parts/" in path:
            if len(self.sent) + 1 == self.breaks_at:
                raise LedgerAway("the line is broken")
            self.sent.append(path.rsplit("/", 1)[1])
        return super().request(method, path, **arguments)


@pytest.mark.django_db(transaction=True)
def test_the_agent_goes_on_where_the_line_broke(live_server: Any, story: Story, settings: LazySettings) -> None:
    settings.LEDGER_PART_LIMIT = 4 * 1024 * 1024
    party, data = story.party(committed=False), os.urandom(WHOLE + 1)
    broken, mended = (Line(live_server.url, party.key, breaks_at=number) for number in (3, 0))
    with pytest.raises(LedgerAway):
        upload(broken, data)
    # One of the parts that are there goes bad: the agent sees it by its digest.
    damaged = uploads.parts(Upload.objects.get().uuid)[0]
    shelf().rename(damaged.key, damaged.key.replace(damaged.sha256, "0" * 64))
    digest = upload(mended, data)
    assert (broken.sent, mended.sent) == (["1", "2"], ["1", "3"])
    assert blobs.read(digest) == data
    assert upload(mended, data) == digest
    assert len(mended.sent) == 2
    small = upload(mended, b"small")
    assert (blobs.read(small), len(mended.sent)) == (b"small", 2)
    settings.LEDGER_CLIENT_QUOTA = 1
    with pytest.raises(AgentError, match="of at most 1"):
        upload(mended, data + b"more")
