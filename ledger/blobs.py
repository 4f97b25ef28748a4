"""Artefacts by SHA-256: LEDGER_DATA_DIR/blobs/ab/cdef…, and a row per owner that says who may use them.

A file appears under its name only whole and synced (write aside, fsync, rename), and never changes after. It
may outlive a transaction that was rolled back; without a row nobody can reach it, and a second upload reuses
it.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from django.conf import settings

from ledger.models import Blob, Client

_NAME = re.compile(r"[0-9a-f]{64}", re.ASCII)


class BlobError(ValueError):
    """Bytes that the store does not take, or a name it does not have."""


def path(sha256: str) -> Path:
    """Where the blob lies or would lie. Raises BlobError unless the name is a digest."""
    if not _NAME.fullmatch(sha256):
        raise BlobError(f"a blob is named by its SHA-256 in 64 lower-case hex digits, got {sha256[:80]!r}")
    folder: Path = settings.LEDGER_DATA_DIR / "blobs" / sha256[:2]
    return folder / sha256[2:]


def put(data: bytes, owner: Client | None = None, sha256: str | None = None) -> tuple[Blob, bool]:
    """Store `data` for `owner` (None: the provider); with `sha256`, only if that is its digest.

    Returns the row and whether it is new. Raises BlobError for a wrong digest or more bytes than
    LEDGER_BLOB_LIMIT.
    """
    if len(data) > settings.LEDGER_BLOB_LIMIT:
        raise BlobError(f"a blob has at most {settings.LEDGER_BLOB_LIMIT} bytes, got {len(data)}")
    digest = hashlib.sha256(data).hexdigest()
    if sha256 not in (None, digest):
        raise BlobError(f"the bytes have SHA-256 {digest}, expected {sha256}: send them again whole")
    if not path(digest).exists():
        draft = _draft(digest)
        with draft.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        _publish(draft, digest)
    return Blob.objects.get_or_create(sha256=digest, owner=owner, defaults={"size": len(data)})


def put_file(source: Path) -> Blob:
    """Store a file of the provider's, of any size. Raises BlobError if it cannot be read."""
    try:
        with source.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if not path(digest).exists():
            draft = _draft(digest)
            shutil.copyfile(source, draft)
            with draft.open("rb+") as file:
                os.fsync(file.fileno())
            _publish(draft, digest)
    except OSError as error:
        raise BlobError(f"{source} cannot be stored: {error.strerror}") from error
    size = path(digest).stat().st_size
    return Blob.objects.get_or_create(sha256=digest, owner=None, defaults={"size": size})[0]


def put_pieces(pieces: Iterable[bytes], owner: Client, sha256: str, size: int) -> Blob:
    """Store what comes in pieces, of which one is in memory at a time.

    Raises BlobError unless the whole has this digest and size.
    """
    draft, hashed, count = _draft(sha256), hashlib.sha256(), 0
    try:
        with draft.open("wb") as file:
            for piece in pieces:
                file.write(piece)
                hashed.update(piece)
                count += len(piece)
            file.flush()
            os.fsync(file.fileno())
        if (hashed.hexdigest(), count) != (sha256, size):
            raise BlobError(
                f"the whole has SHA-256 {hashed.hexdigest()} and {count} bytes, expected {sha256} and {size}"
            )
        _publish(draft, sha256)
    finally:
        draft.unlink(missing_ok=True)
    return Blob.objects.get_or_create(sha256=sha256, owner=owner, defaults={"size": size})[0]


def open_checked(sha256: str) -> BinaryIO:
    """The file, checked against its name, to be read in pieces. Raises BlobError as `read` does."""
    try:
        file = path(sha256).open("rb")
    except OSError as error:
        raise BlobError(f"blob {sha256} is not in the store: {error.strerror}") from error
    if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
        file.close()
        raise BlobError(f"blob {sha256} has changed on disk: restore it from a backup")
    file.seek(0)
    return file


def read(sha256: str) -> bytes:
    """The bytes, checked against their name. Raises BlobError if they are missing or have changed on disk."""
    with open_checked(sha256) as file:
        return file.read()


def readable_by(sha256: str, client: Client) -> bool:
    """Whether `client` may read the blob: its own, or the provider's."""
    return Blob.objects.filter(sha256=sha256, owner=None).exists() or owned_by(sha256, client)


def owned_by(sha256: str, client: Client) -> bool:
    """Whether `client` itself has uploaded the blob."""
    return Blob.objects.filter(sha256=sha256, owner=client).exists()


def _draft(digest: str) -> Path:
    target = path(digest)
    target.parent.mkdir(parents=True, exist_ok=True)
    return target.with_name(f".{target.name[:16]}.{secrets.token_hex(8)}")


def _publish(draft: Path, digest: str) -> None:
    draft.chmod(0o600)
    draft.replace(path(digest))
    folder = os.open(draft.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the rename itself must survive a power cut
    finally:
        os.close(folder)
