"""Who keeps the master key of the vault: this machine, or a key management service.

The vault asks a `KeyManager` to wrap and unwrap data keys of 32 bytes. The setting LEDGER_KMS names another one
than `LocalKeys`: the dotted path of an object, or of a class or function that makes one without arguments. An
adapter for a service is some ten lines, as its own calls are usually named encrypt and decrypt.
"""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings
from django.utils.module_loading import import_string

from ledger.secrets import file_secret

NONCE_BYTES: Final = 12
_FILE, _OLD, _NEXT = "vault-master", "vault-master.previous", "vault-master.next"


class KmsError(ValueError):
    """A data key cannot be wrapped or unwrapped: the master key is missing, or bytes have changed."""


@runtime_checkable
class KeyManager(Protocol):
    """Wraps data keys under a master key that never leaves it. Safe to call from several processes.

    `context` (16 bytes, the record's UUID) must be bound in as associated data: what was wrapped for one record
    must not unwrap for another. Failures are raised as KmsError.
    """

    def current(self) -> str:
        """Name of the master key that `wrap` uses now; 1 to 200 characters, another one after a rotation."""
        ...

    def wrap(self, key: bytes, context: bytes) -> bytes:
        """Encrypt a data key under the master key `current()`."""
        ...

    def unwrap(self, wrapped: bytes, name: str, context: bytes) -> bytes:
        """Decrypt what `wrap` returned while the master key was called `name` (empty: not recorded)."""
        ...


class LocalKeys:
    """AES-256-GCM under a master key from LEDGER_MASTER_KEY, or from a file in LEDGER_DATA_DIR/keys.

    Wrapped is a 12-byte nonce, then ciphertext and tag (NIST SP 800-38D). A key's name is `local:` and the first
    16 hex digits of SHA-256(`vault-master` ‖ key). During a rotation the key before is known as well, from
    LEDGER_MASTER_KEY_PREVIOUS or the file `vault-master.previous`.
    """

    def current(self) -> str:
        """The name of the key in use."""
        return _name(self._keys()[0])

    def wrap(self, key: bytes, context: bytes) -> bytes:
        """Encrypt under the key in use."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + AESGCM(self._keys()[0]).encrypt(nonce, key, context)

    def unwrap(self, wrapped: bytes, name: str, context: bytes) -> bytes:
        """Decrypt under the key called `name`, or whichever fits where the name is empty."""
        for master in self._keys():
            if name in ("", _name(master)):
                with suppress(InvalidTag):
                    return AESGCM(master).decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], context)
        raise KmsError(
            f"no master key here opens what {name or 'an unnamed master key'} has wrapped: set that key as "
            "LEDGER_MASTER_KEY_PREVIOUS, or put its file back"
        )

    def start_rotation(self) -> None:
        """Put a fresh key in the place of the file's key, which stays readable until `end_rotation`.

        Nothing happens while an earlier rotation is under way, or where keys come from the environment: there
        the operator sets both variables. Call it under the lock under which records are sealed.
        """
        if settings.LEDGER_MASTER_KEY:
            return
        if not _path(_OLD).exists():
            file_secret(_path(_FILE))
            file_secret(_path(_NEXT))
            _path(_OLD).hardlink_to(_path(_FILE))
        # The next key waits only if a crash came right here: both names then stand for the key before.
        with suppress(FileNotFoundError):
            _path(_NEXT).replace(_path(_FILE))

    def end_rotation(self) -> None:
        """Destroy the key before: nothing is wrapped under it any more."""
        _path(_OLD).unlink(missing_ok=True)

    def _keys(self) -> list[bytes]:
        """The key in use, then the one before if there is one."""
        if settings.LEDGER_MASTER_KEY:
            texts = [settings.LEDGER_MASTER_KEY, settings.LEDGER_MASTER_KEY_PREVIOUS]
        else:
            texts = [file_secret(_path(_FILE))]
            with suppress(FileNotFoundError):
                texts.append(_path(_OLD).read_text().strip())
        return [_parse(text) for text in texts if text]


def key_manager() -> KeyManager:
    """The one that LEDGER_KMS names, else `LocalKeys`. Raises KmsError if it is none."""
    if not settings.LEDGER_KMS:
        return LocalKeys()
    try:
        named = import_string(settings.LEDGER_KMS)
    except ImportError as error:
        raise KmsError(f"LEDGER_KMS names {settings.LEDGER_KMS!r}, which cannot be imported: {error}") from error
    manager = named() if callable(named) else named
    if not isinstance(manager, KeyManager):
        raise KmsError(f"LEDGER_KMS names {settings.LEDGER_KMS!r}, which lacks current, wrap or unwrap")
    return manager


def _parse(text: str) -> bytes:
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
        raise KmsError(f"a master key has 64 hex digits, got {len(text)} characters")
    return bytes.fromhex(text)


def _name(key: bytes) -> str:
    return f"local:{hashlib.sha256(b'vault-master' + key).hexdigest()[:16]}"


def _path(name: str) -> Path:
    folder: Path = settings.LEDGER_DATA_DIR / "keys"
    return folder / name
