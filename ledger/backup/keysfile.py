"""The folder of keys as one file under a passphrase: for a safe, apart from the database.

`ULKEYS1` LF, 16 bytes of salt, 12 of nonce, then a tar of LEDGER_DATA_DIR/keys under AES-256-GCM (which covers the
header), with a key that scrypt (n = 2^17, r = 8, p = 1) makes of the passphrase.
"""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from django.conf import settings

from ledger.backup.errors import BackupError

MIN_PASSPHRASE: Final = 12
_MAGIC: Final = b"ULKEYS1\n"
_SALT, _NONCE = 16, 12
_COST = 2**17


def save_keys(target: Path, passphrase: str) -> int:
    """Write all keys into a new file; returns how many. Raises BackupError."""
    if len(passphrase) < MIN_PASSPHRASE:
        raise BackupError(f"a passphrase has at least {MIN_PASSPHRASE} characters, got {len(passphrase)}")
    folder = settings.LEDGER_DATA_DIR / "keys"
    files = sorted(path for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []
    if not files:
        raise BackupError(f"there are no keys in {folder}: set LEDGER_DATA_DIR to the ledger's own folder")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for path in files:
            archive.add(path, arcname=path.name)
    header = _MAGIC + os.urandom(_SALT)
    nonce = os.urandom(_NONCE)
    sealed = AESGCM(_key(passphrase, header)).encrypt(nonce, packed.getvalue(), header)
    try:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise BackupError(f"{target} cannot be written: {error.strerror}") from error
    with os.fdopen(descriptor, "wb") as file:
        file.write(header + nonce + sealed)
        file.flush()
        os.fsync(file.fileno())
    return len(files)


def restore_keys(source: Path, passphrase: str) -> int:
    """Put keys back where none are; returns how many. Raises BackupError."""
    try:
        data = source.read_bytes()
    except OSError as error:
        raise BackupError(f"{source} cannot be read: {error.strerror}") from error
    header, rest = data[: len(_MAGIC) + _SALT], data[len(_MAGIC) + _SALT :]
    if not header.startswith(_MAGIC):
        raise BackupError(f"{source} is no file of keys: give the one that `backup --keys` wrote")
    try:
        packed = AESGCM(_key(passphrase, header)).decrypt(rest[:_NONCE], rest[_NONCE:], header)
    except (InvalidTag, ValueError) as error:
        raise BackupError(f"{source} does not open: wrong passphrase, or it was changed") from error
    folder: Path = settings.LEDGER_DATA_DIR / "keys"
    there = sorted(path.name for path in folder.glob("*")) if folder.is_dir() else []
    if there:
        raise BackupError(f"{folder} is not empty ({there[0]}): keys are never overwritten, move it away first")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        members = archive.getmembers()
        archive.extractall(folder, members=members, filter="data")
    for path in folder.iterdir():
        path.chmod(0o600)
    return len(members)


def _key(passphrase: str, header: bytes) -> bytes:
    return Scrypt(salt=header[len(_MAGIC) :], length=32, n=_COST, r=8, p=1).derive(passphrase.encode())
