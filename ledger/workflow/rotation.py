"""New keys for the provider and for the log. The old key signs the new one, in the log."""

from __future__ import annotations

from typing import Literal

from django.utils import timezone

from ledger import keys, log
from ledger.models import LogEntry
from ledger.statements import dsse
from ledger.statements import keys as key_format
from ledger.statements.predicates import KeyRotation
from ledger.statements.statement import sign_statement
from ledger.workflow.step import exclusive


def rotate_key(role: Literal["provider", "log"]) -> LogEntry:
    """Make a new key, log that it follows the present one, and use it from then on. Returns the log entry.

    1. The new key is made and kept beside the old one. 2. The rotation is logged, signed by the provider's key, by
    the key that goes and by the one that comes. 3. The new key takes the old one's place. Interrupted between 1 and
    2 it is carried on by the next call; between 2 and 3 whoever next needs the key does step 3. Raises
    KeyMaterialError where a key is missing or unsafe.
    """
    entry = _log_rotation(role)
    keys.promote(role)
    return entry


@exclusive
def _log_rotation(role: Literal["provider", "log"]) -> LogEntry:
    provider = keys.provider_key()
    old = provider if role == "provider" else keys.log_signer().private_key
    new = keys.stage(role)
    said = KeyRotation(
        role=role,
        old_key=key_format.public_hex(old),
        new_key=key_format.public_hex(new),
        rotated_at=timezone.now(),
    )
    envelope = sign_statement(said, provider)
    for key in (old, new):
        if key is not provider:
            envelope = dsse.countersign(envelope, key)
    return log.append(envelope, key_format.keyid(provider))
