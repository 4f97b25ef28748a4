"""Sealing personal data: AES-256-GCM under a fresh key per record, wrapped under one master key.

A sealed field is a 12-byte nonce followed by ciphertext and tag (NIST SP 800-38D). The record's UUID is bound
in as associated data, so rows cannot be swapped. Destroying `wrapped_key` makes the record unreadable for
ever.
"""

from __future__ import annotations

import os
import uuid
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings

from ledger.models import SubjectRecord
from ledger.secrets import file_secret
from ledger.statements import canonical

NONCE_BYTES = 12


class VaultError(ValueError):
    """A sealed record cannot be opened: other master key, or changed bytes."""


def seal(record: dict[str, Any]) -> SubjectRecord:
    """Store `record` (JSON) encrypted; inverse of `unseal`."""
    name = uuid.uuid4()
    key = AESGCM.generate_key(bit_length=256)
    return SubjectRecord.objects.create(
        uuid=name,
        ciphertext=_encrypt(key, canonical.dumps(record), name.bytes),
        wrapped_key=_encrypt(_master_key(), key, name.bytes),
    )


def unseal(row: SubjectRecord) -> dict[str, Any]:
    """The record in `row`. Raises VaultError if master key or bytes do not fit."""
    key = _decrypt(_master_key(), bytes(row.wrapped_key), row.uuid.bytes)
    record: dict[str, Any] = canonical.loads(_decrypt(key, bytes(row.ciphertext), row.uuid.bytes), "the record")
    return record


def _encrypt(key: bytes, data: bytes, name: bytes) -> bytes:
    nonce = os.urandom(NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, data, name)


def _decrypt(key: bytes, data: bytes, name: bytes) -> bytes:
    try:
        return AESGCM(key).decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], name)
    except InvalidTag as error:
        raise VaultError(
            f"record {uuid.UUID(bytes=name)} cannot be opened: its bytes or the master key have changed"
        ) from error


def _master_key() -> bytes:
    return bytes.fromhex(
        settings.LEDGER_MASTER_KEY or file_secret(settings.LEDGER_DATA_DIR / "keys" / "vault-master")
    )
