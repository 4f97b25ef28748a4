"""Artefacts by SHA-256: `blobs/ab/cdef…` on the shelf, and a row per owner that says who may use them.

A file appears under its name only whole and durable, and never changes after. It may outlive a transaction that
was rolled back; without a row nobody can reach it, and a second upload reuses it.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from django.conf import settings

from ledger.models import Blob, Client
from ledger.shelf import shelf

_NAME = re.compile(r"[0-9a-f]{64}", re.ASCII)


class BlobError(ValueError):
    """Bytes that the store does not take, or a name it does not have."""


def key(sha256: str) -> str:
    """Where the blob lies or would lie on the shelf. Raises BlobError unless the name is a digest."""
    if not _NAME.fullmatch(sha256):
        raise BlobError(f"a blob is named by its SHA-256 in 64 lower-case hex digits, got {sha256[:80]!r}")
    return f"blobs/{sha256[:2]}/{sha256[2:]}"


def path(sha256: str) -> Path:
    """A file of this machine with the blob's bytes, which whoever opens it must check: folder and name are its
    SHA-256. From an object store it is fetched first. Raises BlobError for what is no digest or is not there.
    """
    try:
        return shelf().local(key(sha256))
    except FileNotFoundError as error:
        raise _missing(sha256, error) from error


def size(sha256: str) -> int:
    """Its bytes. Raises BlobError if it is missing."""
    try:
        return shelf().size(key(sha256))
    except FileNotFoundError as error:
        raise _missing(sha256, error) from error


def put(data: bytes, owner: Client | None = None, sha256: str | None = None) -> tuple[Blob, bool]:
    """Store `data` for `owner` (None: the provider); with `sha256`, only if that is its digest.

    Returns the row and whether it is new. Raises BlobError for a wrong digest or more bytes than
    LEDGER_BLOB_LIMIT, OSError where the shelf fails.
    """
    if len(data) > settings.LEDGER_BLOB_LIMIT:
        raise BlobError(f"a blob has at most {settings.LEDGER_BLOB_LIMIT} bytes, got {len(data)}")
    digest = hashlib.sha256(data).hexdigest()
    if sha256 not in (None, digest):
        raise BlobError(f"the bytes have SHA-256 {digest}, expected {sha256}: send them again whole")
    if not shelf().has(key(digest)):
        draft = shelf().draft(key(digest))
        try:
            draft.write_bytes(data)
            shelf().keep(draft, key(digest))
        finally:
            draft.unlink(missing_ok=True)  # half a file on a full disk only makes it fuller
    return Blob.objects.get_or_create(sha256=digest, owner=owner, defaults={"size": len(data)})


def put_file(source: Path) -> Blob:
    """Store a file of the provider's, of any size. Raises BlobError if it cannot be read or stored."""
    try:
        with source.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        keep_file(source, digest)
        count = size(digest)
    except OSError as error:
        raise BlobError(f"{source} cannot be stored: {error.strerror}") from error
    return Blob.objects.get_or_create(sha256=digest, owner=None, defaults={"size": count})[0]


def keep_file(source: Path, sha256: str) -> bool:
    """Put a backup's file back on the shelf, without a row. False if its bytes are not what the name says.

    Raises OSError.
    """
    with source.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
            return False
    if not there(sha256):
        draft = shelf().draft(key(sha256))
        try:
            shutil.copyfile(source, draft)
            shelf().keep(draft, key(sha256))
        finally:
            draft.unlink(missing_ok=True)
    return True


def there(sha256: str) -> bool:
    """Whether the shelf has it."""
    return shelf().has(key(sha256))


def put_pieces(pieces: Iterable[bytes], owner: Client, sha256: str, size: int) -> Blob:
    """Store what comes in pieces, of which one is in memory at a time.

    Raises BlobError unless the whole has this digest and size, OSError where the shelf fails.
    """
    draft, hashed, count = shelf().draft(key(sha256)), hashlib.sha256(), 0
    try:
        with draft.open("wb") as file:
            for piece in pieces:
                file.write(piece)
                hashed.update(piece)
                count += len(piece)
        if (hashed.hexdigest(), count) != (sha256, size):
            raise BlobError(
                f"the whole has SHA-256 {hashed.hexdigest()} and {count} bytes, expected {sha256} and {size}"
            )
        shelf().keep(draft, key(sha256))
    finally:
        draft.unlink(missing_ok=True)
    return Blob.objects.get_or_create(sha256=sha256, owner=owner, defaults={"size": size})[0]


def open_checked(sha256: str) -> BinaryIO:
    """The file, checked against its name, to be read in pieces. Raises BlobError as `read` does, OSError where
    the shelf fails.
    """
    for anew in (False, True):  # a copy of an object may have gone bad here: the object may be good
        try:
            file = shelf().local(key(sha256), anew=anew).open("rb")
        except FileNotFoundError as error:
            raise _missing(sha256, error) from error
        if hashlib.file_digest(file, "sha256").hexdigest() == sha256:
            file.seek(0)
            return file
        file.close()
    raise BlobError(f"blob {sha256} has changed on disk: restore it from a backup")


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


def _missing(sha256: str, error: OSError) -> BlobError:
    return BlobError(f"blob {sha256} is not in the store: {error.strerror}")
