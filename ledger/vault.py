"""Sealing personal data: AES-256-GCM under a fresh key per record, wrapped under one master key (`ledger.kms`).

A sealed field is a 12-byte nonce followed by ciphertext and tag (NIST SP 800-38D). The record's UUID is bound
in as associated data, so rows cannot be swapped. `erase` empties a record for ever.

PostgreSQL writes a new version of a row and leaves the old one in the table's file until it is overwritten.
`purge` rewrites the file. What still holds an erased record's bytes then (write-ahead log, backups, blocks that
the file system gave back) is of no use without the master key of its time: rotating that and destroying the old
one finishes the erasure there too.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.db import connection, transaction
from django.utils import timezone

from ledger.kms import NONCE_BYTES, KeyManager, KmsError, key_manager
from ledger.models import SubjectRecord
from ledger.statements import canonical

_BATCH = 200


class VaultError(ValueError):
    """A sealed record cannot be opened: erased, other master key, or changed bytes."""


def seal(record: dict[str, Any]) -> SubjectRecord:
    """Store `record` (JSON) encrypted; inverse of `unseal`."""
    row = sealed(record)
    row.save(force_insert=True)
    return row


def sealed(record: dict[str, Any]) -> SubjectRecord:
    """The same, not stored yet: for many at once."""
    name = uuid.uuid4()
    key = AESGCM.generate_key(bit_length=256)
    manager = key_manager()
    nonce = os.urandom(NONCE_BYTES)
    return SubjectRecord(
        uuid=name,
        ciphertext=nonce + AESGCM(key).encrypt(nonce, canonical.dumps(record), name.bytes),
        wrapped_key=manager.wrap(key, name.bytes),
        master=manager.current(),
    )


def unseal(row: SubjectRecord) -> dict[str, Any]:
    """The record in `row`. Raises VaultError if it was erased, or master key or bytes do not fit."""
    if row.erased_at is not None:
        raise VaultError(
            f"record {row.uuid} was erased at {row.erased_at:%Y-%m-%dT%H:%M:%SZ}: nothing is left of it"
        )
    key, data = _unwrap(key_manager(), row), bytes(row.ciphertext)
    try:
        plain = AESGCM(key).decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], row.uuid.bytes)
    except InvalidTag as error:
        raise VaultError(f"record {row.uuid} cannot be opened, its bytes have changed: restore a backup") from error
    record: dict[str, Any] = canonical.loads(plain, "the record")
    return record


def erase(row: SubjectRecord) -> None:
    """Destroy data key, ciphertext and with it the salt; again: nothing happens."""
    SubjectRecord.objects.filter(pk=row.pk, erased_at=None).update(
        ciphertext=b"", wrapped_key=b"", master="", erased_at=timezone.now()
    )
    row.refresh_from_db()


def purge() -> int:
    """Rewrite the tables' files if they may hold dead versions of erased records; returns how many were erased.

    That is the vault's table and that of the requests, where keyed hashes and callback addresses stood. Takes an
    exclusive lock on each for as long as that takes, and must run outside a transaction as the tables' owner.
    """
    erased = list(SubjectRecord.objects.exclude(erased_at=None).filter(purged=False).values_list("pk", flat=True))
    if not erased:
        return 0
    with connection.cursor() as cursor:
        cursor.execute("VACUUM (FULL) ledger_subjectrecord")
        cursor.execute("VACUUM (FULL) ledger_deletionrequest")
    SubjectRecord.objects.filter(pk__in=erased).update(purged=True)
    return len(erased)


def rewrap(report: Callable[[int, int], None]) -> int:
    """Wrap every data key under the key manager's current master key, in small transactions; returns how many.

    Interrupted, it goes on where it stopped. `report` is told (done, total). Raises VaultError at a record whose
    master key is not known any more.
    """
    manager = key_manager()
    name = manager.current()
    waiting = SubjectRecord.objects.filter(erased_at=None).exclude(master=name)
    total, done = waiting.count(), 0
    report(done, total)
    while True:
        with transaction.atomic():
            rows = list(waiting.select_for_update().order_by("pk")[:_BATCH])
            for row in rows:
                row.wrapped_key = manager.wrap(_unwrap(manager, row), row.uuid.bytes)
                row.master = name
                row.save(update_fields=["wrapped_key", "master"])
        if not rows:
            return done
        done += len(rows)
        report(done, max(total, done))


def _unwrap(manager: KeyManager, row: SubjectRecord) -> bytes:
    try:
        return manager.unwrap(bytes(row.wrapped_key), row.master, row.uuid.bytes)
    except KmsError as error:
        raise VaultError(
            f"record {row.uuid} cannot be opened: its bytes or the master key have changed ({error})"
        ) from error
