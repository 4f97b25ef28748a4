"""Files in a bucket of an S3-compatible service, with copies on this machine of what programs need as files.

1. An object is put by one PUT of the whole, which the service takes or refuses as one; Content-MD5 lets it refuse
   what was damaged on the way. 5 GB are the most that one PUT may have.
2. `local` fetches into LEDGER_DATA_DIR/cache/KEY, aside and renamed. Who asked checks the digest, and asks anew
   where a copy has gone bad.
3. Copies beyond LEDGER_BLOB_CACHE bytes go, those not used for the longest time first, and none that was used in
   the last hour: a worker may be about to open it.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from ledger.shelf.address import Address
from ledger.shelf.folder import sweep_drafts

MAX_OBJECT: Final = 5 * 1024**3  # bytes: S3's limit for one PUT
IN_USE: Final = 3600.0  # seconds after its last use, for which a copy stays
_CONFIG: Final = Config(
    connect_timeout=5,
    read_timeout=60,
    retries={"mode": "standard", "max_attempts": 4},
    s3={"addressing_style": "auto"},
    # Content-MD5 and our own digests do this; other services than Amazon's do not all know the newer headers.
    request_checksum_calculation="when_required",
    response_checksum_validation="when_required",
)


class BucketError(OSError):
    """The object store refused, or does not answer."""


class Bucket:
    """Keys under the address's prefix."""

    def __init__(self, address: Address, data_dir: Path, cache_bytes: int) -> None:
        self._address = address
        self._copies, self._drafts, self._limit = data_dir / "cache", data_dir / "drafts", cache_bytes
        style = Config(s3={"addressing_style": "path"}) if address.endpoint else Config()
        self._client: Any = boto3.client(
            "s3", endpoint_url=address.endpoint, region_name=address.region, config=_CONFIG.merge(style)
        )

    def draft(self, key: str) -> Path:  # noqa: ARG002 - a name says nothing
        """In a folder of their own; what killed processes left there goes on the way."""
        self._drafts.mkdir(parents=True, exist_ok=True, mode=0o700)
        sweep_drafts(self._drafts)
        return self._drafts / f".{secrets.token_hex(12)}"

    def keep(self, draft: Path, key: str) -> None:
        """One PUT."""
        size = draft.stat().st_size
        if size > MAX_OBJECT:
            raise BucketError(errno.EFBIG, f"an object has at most {MAX_OBJECT} bytes, got {size}")
        with draft.open("rb") as file:
            md5 = base64.b64encode(hashlib.file_digest(file, _md5).digest()).decode()
            file.seek(0)
            with self._saying(key):
                self._client.put_object(**self._at(key), Body=file, ContentLength=size, ContentMD5=md5)
        draft.unlink()

    def has(self, key: str) -> bool:
        """One HEAD."""
        try:
            self.size(key)
        except FileNotFoundError:
            return False
        return True

    def size(self, key: str) -> int:
        """One HEAD."""
        with self._saying(key):
            return int(self._client.head_object(**self._at(key))["ContentLength"])

    def open(self, key: str) -> BinaryIO:
        """Straight from the service; a connection that breaks raises, it does not end the file."""
        with self._saying(key):
            return cast("BinaryIO", self._client.get_object(**self._at(key))["Body"])

    def local(self, key: str, *, anew: bool = False) -> Path:
        """Steps 2 and 3."""
        copy = self._copies / key
        if anew or not copy.exists():
            self._fetch(key, copy)
            self._make_room()
        with suppress(OSError):
            copy.touch()  # its time is that of its last use
        return copy

    def rename(self, old: str, new: str) -> None:
        """A copy on the service, then the old one goes."""
        with self._saying(old):
            self._client.copy_object(**self._at(new), CopySource=self._at(old))
            self._client.delete_object(**self._at(old))

    def remove(self, prefix: str) -> None:
        """One by one."""
        for key, _ in list(self.names(prefix)):
            with self._saying(key):
                self._client.delete_object(**self._at(key))

    def names(self, prefix: str) -> Iterator[tuple[str, int]]:
        """In pages of a thousand."""
        with self._saying(prefix):
            for page in self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._address.bucket, Prefix=self._address.prefix + prefix
            ):
                for found in page.get("Contents", []):
                    yield found["Key"].removeprefix(self._address.prefix), int(found["Size"])

    def _at(self, key: str) -> dict[str, str]:
        return {"Bucket": self._address.bucket, "Key": self._address.prefix + key}

    def _fetch(self, key: str, copy: Path) -> None:
        draft = self.draft(key)
        try:
            with self._saying(key), self.open(key) as source, draft.open("wb") as file:
                shutil.copyfileobj(source, file, 1024 * 1024)
            draft.chmod(0o600)
            copy.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            draft.replace(copy)
        finally:
            draft.unlink(missing_ok=True)

    def _make_room(self) -> None:
        found = []
        for path in self._copies.rglob("*"):
            with suppress(FileNotFoundError):  # another process makes room too
                if path.is_file():
                    status = path.stat()
                    found.append((status.st_mtime, status.st_size, path))
        over = sum(size for _, size, _ in found) - self._limit
        for used, size, path in sorted(found):
            if over <= 0 or used > time.time() - IN_USE:
                return
            path.unlink(missing_ok=True)
            over -= size

    @contextmanager
    def _saying(self, key: str) -> Iterator[None]:
        """The library's errors as OSError."""
        try:
            yield
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", "?"))
            if code in {"404", "NoSuchKey"}:
                raise FileNotFoundError(errno.ENOENT, "the object store does not have it", key) from error
            raise BucketError(
                errno.EIO, f"the object store refused {error.operation_name} of {key} with {code}"
            ) from error
        except BotoCoreError as error:
            raise BucketError(errno.EIO, f"the object store does not answer for {key}: {error}") from error


def _md5() -> Any:
    return hashlib.md5(usedforsecurity=False)
