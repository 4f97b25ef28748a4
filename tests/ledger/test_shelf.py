"""Where files lie: one suite for the folder and for a real object store (OpenStack Swift's S3 interface)."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings

from ledger import blobs, shelf, uploads
from ledger.shelf.address import Address, AddressError
from ledger.shelf.folder import Folder, sweep_drafts
from tests.ledger.api.test_uploads import DATA as PARTS
from tests.ledger.api.test_uploads import DIGEST, address, begin, complete, send
from tests.ledger.story import Story
from tests.services import Swift

DATA = os.urandom(300_000)


@pytest.fixture(scope="module")
def swift(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swift]:
    if Swift.missing():
        pytest.skip(f"{Swift.missing()} is not installed: make fault-tools")
    with Swift(tmp_path_factory.mktemp("swift")) as swift, pytest.MonkeyPatch.context() as patch:
        for name, value in Swift.CREDENTIALS.items():
            patch.setenv(name, value)
        swift.make_bucket()
        yield swift


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest) -> str:
    """LEDGER_BLOB_STORE."""
    return "" if request.param == "folder" else request.getfixturevalue("swift").url


@pytest.fixture
def place(store: str, tmp_path: Path) -> shelf.Shelf:
    from ledger.shelf.s3 import Bucket

    return Bucket(Address.parse(store), tmp_path, 10**9) if store else Folder(tmp_path)


def put(place: shelf.Shelf, key: str, data: bytes = DATA) -> None:
    draft = place.draft(key)
    draft.write_bytes(data)
    place.keep(draft, key)
    assert not draft.exists()


def test_what_lies_there_can_be_had(place: shelf.Shelf) -> None:
    put(place, "blobs/ab/1")
    put(place, "blobs/ac/2", b"")
    put(place, "blobs/ab/1", DATA + b"!")
    assert (place.has("blobs/ab/1"), place.has("blobs/ab/3")) == (True, False)
    assert place.size("blobs/ab/1") == len(DATA) + 1
    with place.open("blobs/ab/1") as file:
        assert file.read(5) + file.read() == DATA + b"!"
    assert place.local("blobs/ab/1").read_bytes() == DATA + b"!"
    assert sorted(place.names("blobs/")) == [("blobs/ab/1", len(DATA) + 1), ("blobs/ac/2", 0)]
    place.rename("blobs/ac/2", "uploads/2")
    place.remove("blobs/ab/1")
    place.remove("blobs/none")
    assert list(place.names("blobs/")) == []
    place.remove("uploads/")
    assert list(place.names("uploads/")) == []


def test_what_does_not_lie_there(place: shelf.Shelf) -> None:
    for ask in (place.size, place.open, lambda key: place.local(key, anew=True).open()):
        with pytest.raises(FileNotFoundError):
            ask("blobs/none")


@pytest.mark.django_db
def test_blobs_and_parts(store: str, story: Story, settings: LazySettings) -> None:
    """A client sends a file in parts; the file is read, its copy goes bad, the stored one goes bad."""
    settings.LEDGER_BLOB_STORE = store
    place = shelf.shelf()
    party = story.party("one", committed=False)
    to = address(begin(party))
    send(party, to, 1, 2, 3, 4)
    send(party, to, 3)
    assert complete(party, to).status_code == 201
    assert uploads.all_folders() == []
    assert (blobs.read(DIGEST), blobs.size(DIGEST)) == (PARTS, len(PARTS))
    blobs.path(DIGEST).write_bytes(b"bad")
    if store:
        assert blobs.read(DIGEST) == PARTS  # fetched anew
        put(place, blobs.key(DIGEST), b"bad as well")
        blobs.path(DIGEST).unlink()
    with pytest.raises(blobs.BlobError, match="changed"):
        blobs.read(DIGEST)
    place.remove(blobs.key(DIGEST))
    with pytest.raises(blobs.BlobError, match="not in the store"):
        blobs.size(DIGEST)


def test_copies_make_room(swift: Swift, tmp_path: Path) -> None:
    """What was used in the last hour stays, whatever the limit."""
    from ledger.shelf.s3 import Bucket

    place = Bucket(Address.parse(swift.url), tmp_path, cache_bytes=400_000)
    for number in range(3):
        put(place, f"blobs/aa/{number}")
    copies = [place.local(f"blobs/aa/{number}") for number in range(3)]
    assert all(copy.exists() for copy in copies)
    for copy in copies[:2]:
        os.utime(copy, (0, 0))
    place.local("blobs/aa/1")  # used again
    place.local("blobs/aa/2", anew=True)
    assert [copy.exists() for copy in copies] == [False, True, True]


def test_damage_on_the_way_is_refused(swift: Swift, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The attack: other bytes than those whose digest was announced reach the service."""
    from ledger.shelf import s3

    place = s3.Bucket(Address.parse(swift.url), tmp_path, cache_bytes=0)
    monkeypatch.setattr(s3, "_md5", lambda: hashlib.md5(b"other bytes"))
    with pytest.raises(s3.BucketError, match="refused PutObject of blobs/aa/x with BadDigest"):
        put(place, "blobs/aa/x")
    assert not place.has("blobs/aa/x")


def test_a_service_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ledger.shelf import s3

    for name, value in Swift.CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    nobody = Address.parse("s3://ledger?endpoint=http://127.0.0.1:1&region=x")
    monkeypatch.setattr(s3, "_CONFIG", s3._CONFIG.merge(s3.Config(retries={"total_max_attempts": 1})))
    with pytest.raises(s3.BucketError, match="does not answer for k"):
        s3.Bucket(nobody, tmp_path, 0).has("k")


@pytest.mark.parametrize(
    "text",
    ["http://bucket", "s3://", "s3://Bucket", "s3://bucket/a//b", "s3://bucket?endpoint=ftp://x", "s3://bucket?acl=x",
     "s3://bucket?region=a&region=b", "s3://bucket/../x y", "s3://key:secret@bucket"],
)  # fmt: skip
def test_addresses_that_make_no_sense(text: str) -> None:
    with pytest.raises(AddressError) as caught:
        Address.parse(text)
    assert "secret" not in str(caught.value)


def test_addresses() -> None:
    assert Address.parse("s3://b.c") == Address("b.c", "", None, None)
    full = "s3://bkt/a/b/?endpoint=https://s3.example:9000&region=eu-1"
    assert Address.parse(full) == Address("bkt", "a/b/", "https://s3.example:9000", "eu-1")


def test_drafts_left_behind_go_after_a_day(tmp_path: Path) -> None:
    place: Any = Folder(tmp_path)
    old, new = place.draft("blobs/ab/1"), place.draft("blobs/ab/1")
    for draft in (old, new):
        draft.write_bytes(b"half")
    os.utime(old, (time.time() - 90_000,) * 2)
    assert sweep_drafts(tmp_path) == 1
    assert (old.exists(), new.exists()) == (False, True)
    assert list(place.names("")) == []
