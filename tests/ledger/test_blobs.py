"""The blob store: whole files under their own digest, and who may use them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from django.conf import LazySettings

from ledger import blobs
from ledger.models import Blob
from tests.ledger.story import Story

DATA = b"some points"
DIGEST = hashlib.sha256(DATA).hexdigest()


@pytest.mark.django_db
def test_round_trip() -> None:
    blob, created = blobs.put(DATA, sha256=DIGEST)
    assert (blob.sha256, blob.size, created) == (DIGEST, len(DATA), True)
    assert blobs.put(DATA) == (blob, False)
    assert blobs.read(DIGEST) == DATA
    assert [path.name for path in blobs.path(DIGEST).parent.iterdir() if path.name.startswith(".")] == []


@pytest.mark.django_db
def test_a_file_of_any_size(tmp_path: Path, settings: LazySettings) -> None:
    settings.LEDGER_BLOB_LIMIT = 3
    (tmp_path / "file").write_bytes(b"longer")
    assert blobs.read(blobs.put_file(tmp_path / "file").sha256) == b"longer"
    with pytest.raises(blobs.BlobError, match="at most 3 bytes, got 6"):
        blobs.put(b"longer")
    with pytest.raises(blobs.BlobError, match="cannot be stored"):
        blobs.put_file(tmp_path / "none")


@pytest.mark.django_db
def test_the_digest_must_fit() -> None:
    with pytest.raises(blobs.BlobError, match="expected"):
        blobs.put(DATA, sha256="00" * 32)
    assert Blob.objects.count() == 0


@pytest.mark.parametrize("name", ["", "..", "../" * 20 + "etc/passwd", DIGEST.upper(), DIGEST + "\n"])
def test_only_digests_are_names(name: str) -> None:
    with pytest.raises(blobs.BlobError, match="64 lower-case hex"):
        blobs.path(name)


@pytest.mark.django_db
def test_bytes_changed_on_disk_are_noticed() -> None:
    blobs.put(b"fragile")
    digest = hashlib.sha256(b"fragile").hexdigest()
    blobs.path(digest).write_bytes(b"broken")
    with pytest.raises(blobs.BlobError, match="changed on disk"):
        blobs.read(digest)
    blobs.path(digest).unlink()
    with pytest.raises(blobs.BlobError, match="not in the store"):
        blobs.read(digest)


def test_who_may_read(story: Story) -> None:
    one, two = story.party("one", committed=False), story.party("two", committed=False)
    mine = one.upload(b"mine")
    assert blobs.owned_by(mine, one.row)
    assert not blobs.readable_by(mine, two.row)
    shared = blobs.put(b"the provider's")[0].sha256
    assert blobs.readable_by(shared, two.row)
    assert not blobs.owned_by(shared, two.row)
    assert two.upload(b"mine") == mine
    assert Blob.objects.filter(sha256=mine).count() == 2
