"""Ed25519 keys: made, kept in PEM files (PKCS#8) that only their owner may read, and named.

A public key travels as its 32 raw bytes in lower-case hex. Its key ID is the hex SHA-256 of those bytes.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from ledger.statements.errors import KeyFileError

_HEX_KEY: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO

Key = Ed25519PrivateKey | Ed25519PublicKey


def generate() -> Ed25519PrivateKey:
    """Make a new private key."""
    return Ed25519PrivateKey.generate()


def save_private(key: Ed25519PrivateKey, path: Path) -> None:
    """Write a private key to a new file with mode 0600; inverse of `load_private`.

    Raises KeyFileError if the file exists: a key that is overwritten is lost.
    """
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        # The mode is set as the file is made, so there is no moment in which others could read it.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise KeyFileError(f"{path} exists and keys are never overwritten: move it away first") from error
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)
        file.flush()
        os.fsync(file.fileno())


def load_private(path: Path) -> Ed25519PrivateKey:
    """Read a private key from a PEM file.

    Raises KeyFileError if the file is missing, readable by others than its owner, or no Ed25519 key.
    """
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            pem = file.read(10_000)
    except OSError as error:
        raise KeyFileError(f"the private key {path} cannot be read: {error.strerror}") from error
    if mode & _OTHERS:
        raise KeyFileError(f"others may use the private key {path}: its mode is {mode:04o}, set it to 0600")
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeyFileError(f"{path} is no private key in unencrypted PEM (PKCS#8)") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFileError(f"{path} holds a key of another kind ({type(key).__name__}), expected Ed25519")
    return key


def public_hex(key: Key) -> str:
    """Return the raw public key in lower-case hex, 64 digits; of a private key, its public half."""
    return _public(key).public_bytes_raw().hex()


def public_from_hex(text: str) -> Ed25519PublicKey:
    """Parse a raw public key; raises KeyFileError unless it is 64 lower-case hex digits. Inverse of `public_hex`."""
    if not _HEX_KEY.fullmatch(text):
        raise KeyFileError(f"a public key is 64 lower-case hex digits, got {text[:80]!r}")
    return Ed25519PublicKey.from_public_bytes(bytes.fromhex(text))


def keyid(key: Key) -> str:
    """Return the key ID: hex SHA-256 of the raw public key."""
    return hashlib.sha256(_public(key).public_bytes_raw()).hexdigest()


def _public(key: Key) -> Ed25519PublicKey:
    return key.public_key() if isinstance(key, Ed25519PrivateKey) else key
