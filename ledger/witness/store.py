"""What a witness keeps, as files in one folder.

    witness.pem      its private key, mode 0600
    witness.vkey     its verifier key, which also fixes its name
    lock             locked (flock) while a checkpoint is checked and kept
    heads/HASH.note  last cosigned checkpoint of a log, with its and our signature; HASH = SHA-256(origin)
    evidence/NAME    two checkpoints of one size that a log signed

A file is replaced whole: written beside, synced, renamed, and the folder synced. So after a crash at any moment
there is the old text or the new one. The lock is the kernel's: it ends with the process that holds it, and keeps
out threads of this process as well as other processes on the same folder.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from ledger.statements import keys
from ledger.tlog.cosignature import CosignatureSigner, CosignatureVerifier
from ledger.tlog.errors import NoteError
from ledger.witness.errors import StateError

KEY: Final = "witness.pem"
VKEY: Final = "witness.vkey"


class FileHeads:
    """Heads (`ledger.witness.core.Heads`) in `folder`, which is made if it does not exist."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for name in ("heads", "evidence"):
            (folder / name).mkdir(parents=True, exist_ok=True, mode=0o700)

    @contextmanager
    def exclusive(self, origin: str) -> Iterator[None]:
        """One lock for all origins: checks take milliseconds. Opened anew, so that threads exclude each other."""
        del origin
        descriptor = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def load(self, origin: str) -> str | None:
        """Return what was saved last; None if nothing ever was. Raises OSError or StateError."""
        try:
            return self._path(origin).read_bytes().decode()
        except FileNotFoundError:
            return None
        except UnicodeDecodeError as error:
            raise StateError(f"the state kept for the log {origin!r} is damaged: it is no text") from error

    def save(self, origin: str, note: str) -> None:
        """Replace the text; on return it survives a power cut. Raises OSError, with the old text in place."""
        write_durably(self._path(origin), note)

    def keep_evidence(self, name: str, text: str) -> None:
        """Keep a text under a name for ever; the first one stays."""
        path = self._folder / "evidence" / name
        if not path.exists():
            write_durably(path, text)

    def _path(self, origin: str) -> Path:
        return self._folder / "heads" / f"{hashlib.sha256(origin.encode()).hexdigest()}.note"


def write_durably(path: Path, text: str) -> None:
    """Make `path` hold `text`, whole or not at all, and on return for good. Raises OSError."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def open_signer(folder: Path, name: str | None) -> CosignatureSigner:
    """The witness's key in `folder`, made on first use under `name`.

    Raises StateError without a name on first use, or when the folder's witness has another name or key;
    KeyMaterialError if the key file is unsafe.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    written = folder / VKEY
    if not written.exists():
        if name is None:
            raise StateError(f"{folder} holds no witness yet: choose its name with --name, as witness.example/w1")
        if not (folder / KEY).exists():
            keys.save_private(keys.generate(), folder / KEY)
        write_durably(written, CosignatureSigner(name, keys.load_private(folder / KEY)).vkey + "\n")
    try:
        known = CosignatureVerifier.parse(written.read_text().removesuffix("\n"))
    except (NoteError, UnicodeDecodeError) as error:
        raise StateError(f"{written} is damaged: {error}") from error
    signer = CosignatureSigner(known.name, keys.load_private(folder / KEY))
    if signer.vkey != known.vkey:
        raise StateError(f"{folder / KEY} is not the key of {known.vkey}, which {written} names")
    if name not in {None, known.name}:
        raise StateError(f"the witness in {folder} has the name {known.name!r}, got {name!r}: a name is for ever")
    return signer
