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

from ledger.statements.errors import KeyMaterialError

_P: Final = 2**255 - 19  # Curve25519's field (RFC 8032 section 5.1)
# The y of a point of order 8: it doubles to y = 0, which with the curve's equation leaves d·y⁴ + 2y² = 1.
_Y8: Final = int.from_bytes(
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little"
)
#: The y of the eight points whose order divides 8. Order 1 and 2 have y = ±1, order 4 has y = 0.
_SMALL_ORDER: Final = frozenset({0, 1, _P - 1, _Y8, _P - _Y8})

_HEX_KEY: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO

Key = Ed25519PrivateKey | Ed25519PublicKey


def generate() -> Ed25519PrivateKey:
    """Make a new private key."""
    return Ed25519PrivateKey.generate()


def save_private(key: Ed25519PrivateKey, path: Path) -> None:
    """Write a private key to a new file with mode 0600; inverse of `load_private`.

    Raises KeyMaterialError if the file exists: a key that is overwritten is lost.
    """
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        # The mode is set as the file is made, so there is no moment in which others could read it.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise KeyMaterialError(f"{path} exists and keys are never overwritten: move it away first") from error
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)
        file.flush()
        os.fsync(file.fileno())


def load_private(path: Path) -> Ed25519PrivateKey:
    """Read a private key from a PEM file.

    Raises KeyMaterialError if the file is missing, readable by others than its owner, or no Ed25519 key.
    """
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            pem = file.read(10_000)
    except OSError as error:
        raise KeyMaterialError(f"the private key {path} cannot be read: {error.strerror}") from error
    if mode & _OTHERS:
        raise KeyMaterialError(f"others may use the private key {path}: its mode is {mode:04o}, set it to 0600")
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeyMaterialError(f"{path} is no private key in unencrypted PEM (PKCS#8)") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyMaterialError(f"{path} holds a key of another kind ({type(key).__name__}), expected Ed25519")
    return key


def public_hex(key: Key) -> str:
    """Return the raw public key in lower-case hex, 64 digits; of a private key, its public half."""
    return _public(key).public_bytes_raw().hex()


def public_from_hex(text: str) -> Ed25519PublicKey:
    """Parse a raw public key; inverse of `public_hex`. Raises KeyMaterialError as `raw_from_hex`."""
    return Ed25519PublicKey.from_public_bytes(raw_from_hex(text))


def raw_from_hex(text: str) -> bytes:
    """The 32 bytes of a public key in hex.

    Raises KeyMaterialError unless it is 64 lower-case hex digits, and for a point of small order: under such
    a key one signature holds for many messages, so its owner could deny what was signed.
    """
    if not _HEX_KEY.fullmatch(text):
        raise KeyMaterialError(f"a public key is 64 lower-case hex digits, got {text[:80]!r}")
    raw = bytes.fromhex(text)
    if _has_small_order(raw):
        raise KeyMaterialError(f"the public key {text} is a point of small order: generate a new key")
    return raw


def keyid(key: Key) -> str:
    """Return the key ID: hex SHA-256 of the raw public key."""
    return raw_keyid(_public(key).public_bytes_raw())


def raw_keyid(raw: bytes) -> str:
    """The same from the raw bytes."""
    return hashlib.sha256(raw).hexdigest()


def _has_small_order(raw: bytes) -> bool:
    """Whether an encoded point is one of the eight whose order divides 8, in whatever spelling."""
    return (int.from_bytes(raw, "little") & (2**255 - 1)) % _P in _SMALL_ORDER


def _public(key: Key) -> Ed25519PublicKey:
    return key.public_key() if isinstance(key, Ed25519PrivateKey) else key
