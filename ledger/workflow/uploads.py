"""Files that come in parts, so that a broken line costs one part and not the file.

An upload is found again by its client and the whole's SHA-256. What is left behind expires; what a client may
store, and how many files it may have under way, has limits, so that none can fill the disk.
"""

from __future__ import annotations

import functools
import uuid
from datetime import datetime, timedelta
from typing import Final

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet, Sum
from django.utils import timezone

from ledger import blobs, uploads
from ledger.models import Blob, Client, Upload
from ledger.workflow.errors import WorkflowError

MIN_PART: Final = 64 * 1024  # bytes
MAX_PARTS: Final = 1000


@transaction.atomic
def begin_upload(client: Client, sha256: str, size: int, part_size: int | None) -> tuple[Upload | None, bool]:
    """Begin an upload, or find the one under way; returns it and whether it is new.

    None instead of an upload: the client has this file stored already. Raises WorkflowError: 413 for a file beyond
    the limits, 422 for parts that cannot be, 409 where the same file was said to have another size, 429 for too
    many at a time.
    """
    _lock(client)
    if blobs.owned_by(sha256, client):
        return None, False
    known = Upload.objects.filter(owner=client, sha256=sha256, expires_at__gt=timezone.now()).first()
    if known is not None:
        if known.size != size:
            raise WorkflowError(
                "other-size", f"this file is under way with {known.size} bytes, got {size}: DELETE that upload", 409
            )
        return known, False
    part_size = _checked_parts(size, part_size)
    _discard(Upload.objects.filter(owner=client, expires_at__lte=timezone.now()))
    under_way = Upload.objects.filter(owner=client).count()
    if under_way >= settings.LEDGER_UPLOADS_OPEN:
        raise WorkflowError(
            "too-many-uploads",
            f"{under_way} uploads are under way, which is the most for one client: complete or DELETE one of them",
            429,
        )
    _expect_room(client, size)
    return (
        Upload.objects.create(owner=client, sha256=sha256, size=size, part_size=part_size, expires_at=_later()),
        True,
    )


def own_upload(client: Client, upload_id: uuid.UUID) -> Upload:
    """An upload of this client that has not expired; 404 for everything else."""
    return _found(Upload.objects.filter(owner=client, uuid=upload_id, expires_at__gt=timezone.now()).first())


def take_part(client: Client, upload_id: uuid.UUID, number: int, data: bytes) -> Upload:
    """Keep part `number` (from 1), whose bytes the request's signature covers. Again: the later one counts.

    Raises WorkflowError: 404 if the upload is not the client's, 422 for a number or a size that cannot be.
    """
    upload = own_upload(client, upload_id)
    if not 1 <= number <= upload.parts:
        raise WorkflowError("no-such-part", f"this upload has parts 1 to {upload.parts}, got {number}", 422)
    if len(data) != upload.size_of(number):
        raise WorkflowError(
            "wrong-size", f"part {number} has {upload.size_of(number)} bytes, got {len(data)}: send it again", 422
        )
    written = uploads.draft(upload.uuid, data)
    try:
        with transaction.atomic():
            upload = _found(Upload.objects.select_for_update().filter(owner=client, uuid=upload_id).first())
            uploads.keep(upload.uuid, number, uploads.digest(data), written)
            upload.expires_at = _later()
            upload.save(update_fields=["expires_at"])
    except BaseException:
        uploads.drop(written)
        raise
    return upload


def complete_upload(client: Client, upload_id: uuid.UUID) -> Blob:
    """Put the parts together, check the whole, and store it as the client's.

    Raises WorkflowError: 404 if the upload is not the client's (any more), 409 while parts are missing, 422 if the
    whole is not what was announced; the parts stay, so that the wrong one can be replaced.
    """
    own_upload(client, upload_id)
    with transaction.atomic():
        upload = _found(Upload.objects.select_for_update().filter(owner=client, uuid=upload_id).first())
        there = uploads.parts(upload.uuid)
        missing = sorted(set(range(1, upload.parts + 1)) - {part.number for part in there})
        if missing:
            shown = ", ".join(map(str, missing[:10])) + (", …" if len(missing) > 10 else "")
            raise WorkflowError("parts-missing", f"{len(missing)} parts are not there: {shown}", 409)
        try:
            blob = blobs.put_pieces(uploads.read(there), client, upload.sha256, upload.size)
        except blobs.BlobError as error:
            raise WorkflowError(
                "wrong-digest", f"{error}; GET the upload shows each part's SHA-256", 422
            ) from error
        upload.delete()
    uploads.remove(upload_id)
    return blob


def give_up_upload(client: Client, upload_id: uuid.UUID) -> None:
    """Destroy an upload with its parts; 404 if it is not the client's."""
    with transaction.atomic():
        _found(Upload.objects.select_for_update().filter(owner=client, uuid=upload_id).first()).delete()
    uploads.remove(upload_id)


def store_blob(client: Client, data: bytes, sha256: str) -> tuple[Blob, bool]:
    """Store a file that came in one request. Raises WorkflowError: 413 beyond the client's quota; BlobError."""
    blobs.key(sha256)  # refuses what is no digest
    with transaction.atomic():
        _lock(client)
        if not blobs.owned_by(sha256, client):
            _expect_room(client, len(data))
        return blobs.put(data, owner=client, sha256=sha256)


def sweep_uploads() -> None:
    """Destroy uploads that have expired, and files that no row knows of. Safe anywhere."""
    stored = uploads.all_folders()  # before the rows: an upload's row is older than its folder
    _discard(Upload.objects.filter(expires_at__lte=timezone.now()))
    known = set(Upload.objects.filter(uuid__in=stored).values_list("uuid", flat=True))
    for name in stored:
        if name not in known:
            uploads.remove(name)


def _discard(rows: QuerySet[Upload]) -> None:
    """The files go once the rows are gone for good; a crash between is the sweep's."""
    with transaction.atomic():
        gone = [upload.uuid for upload in rows.select_for_update()]
        Upload.objects.filter(uuid__in=gone).delete()
        for name in gone:
            transaction.on_commit(functools.partial(uploads.remove, name))


def _found(upload: Upload | None) -> Upload:
    if upload is None:
        raise WorkflowError("unknown-upload", "this client has no such upload: begin one with POST /uploads", 404)
    return upload


def _lock(client: Client) -> None:
    """One decision about a client's quota at a time."""
    Client.objects.select_for_update(no_key=True).get(pk=client.pk)


def _checked_parts(size: int, part_size: int | None) -> int:
    if size > settings.LEDGER_UPLOAD_LIMIT:
        raise WorkflowError(
            "too-large", f"a file has at most {settings.LEDGER_UPLOAD_LIMIT} bytes, got {size}", 413
        )
    part_size = part_size or settings.LEDGER_PART_LIMIT
    if not MIN_PART <= part_size <= settings.LEDGER_PART_LIMIT:
        raise WorkflowError(
            "bad-part-size", f"a part has {MIN_PART} to {settings.LEDGER_PART_LIMIT} bytes, got {part_size}", 422
        )
    if -(-size // part_size) > MAX_PARTS:
        raise WorkflowError(
            "too-many-parts",
            f"a file has at most {MAX_PARTS} parts, got {-(-size // part_size)}: send larger ones",
            422,
        )
    return part_size


def _expect_room(client: Client, size: int) -> None:
    """413 if `size` more bytes are more than the client may store. What is under way counts in full."""
    used = sum(
        rows.aggregate(bytes=Sum("size"))["bytes"] or 0
        for rows in (Blob.objects.filter(owner=client), Upload.objects.filter(owner=client))
    )
    if used + size > settings.LEDGER_CLIENT_QUOTA:
        raise WorkflowError(
            "quota-exceeded",
            f"this client stores {used} bytes of at most {settings.LEDGER_CLIENT_QUOTA}, {size} more do not fit: "
            "give up uploads that are under way, or ask the provider for more",
            413,
        )


def _later() -> datetime:
    return timezone.now() + timedelta(hours=settings.LEDGER_UPLOAD_HOURS)
