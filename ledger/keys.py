"""The provider's keys, in LEDGER_DATA_DIR/keys: `log.pem` for checkpoints, `provider.pem` for statements.

Which of two keys may sign is decided by the log: `stage` makes `NAME.next.pem`, and once the key-rotation that
names it is logged, whoever needs the key next finds that the log has moved on and puts the new file in the place
of the old one, which is kept as `NAME.retired-KEYID.pem`. So a crash between log and file does no harm. Ask for a
signing key under the log's lock: then no rotation comes between the question and the signature.
"""

from __future__ import annotations

import fcntl
from contextlib import suppress
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.conf import settings

from ledger.models import LogEntry
from ledger.statements import keys
from ledger.statements.dsse import Envelope
from ledger.statements.errors import KeyMaterialError
from ledger.statements.keyring import KeyRing
from ledger.statements.predicates import KeyRotation
from ledger.statements.statement import Statement
from ledger.tlog.note import NoteSigner, NoteVerifier

LOG, PROVIDER = "log.pem", "provider.pem"
FILES = {"log": LOG, "provider": PROVIDER}


def path(name: str) -> Path:
    """Where the key file `name` lies."""
    folder: Path = settings.LEDGER_DATA_DIR / "keys"
    return folder / name


def create_missing() -> list[Path]:
    """Make the keys that do not exist yet; existing ones are left alone. Returns the new files."""
    made = [path(name) for name in (LOG, PROVIDER) if not path(name).exists()]
    for file in made:
        file.parent.mkdir(parents=True, exist_ok=True)
        keys.save_private(keys.generate(), file)
    return made


def stored_signer() -> NoteSigner:
    """The log's key as its file has it, without asking the database. Raises KeyMaterialError."""
    return NoteSigner(settings.LEDGER_ORIGIN, keys.load_private(path(LOG)))


def log_signer() -> NoteSigner:
    """Signs checkpoints under the log's origin. Raises KeyMaterialError if the key is missing or unsafe."""
    return NoteSigner(settings.LEDGER_ORIGIN, _current("log"))


def provider_key() -> Ed25519PrivateKey:
    """Signs the provider's statements. Raises KeyMaterialError if the key is missing or unsafe."""
    return _current("provider")


def rotations() -> list[tuple[int, Envelope]]:
    """All key-rotations in the log, (index, envelope), oldest first."""
    rows = LogEntry.objects.filter(predicate_type=KeyRotation.type_uri()).order_by("index")
    return [(row.index, Envelope.parse(bytes(row.envelope))) for row in rows]


def root_ring() -> KeyRing:
    """The key ring at the start of the log, found by going back from today's keys."""
    return KeyRing.rooted(keys.public_hex(provider_key()), keys.public_hex(log_signer().private_key), rotations())


def root_vkey() -> str:
    """The verifier key that the log began with."""
    _, key = root_ring().log_keys[0]
    return NoteVerifier(settings.LEDGER_ORIGIN, keys.public_from_hex(key)).vkey


def stage(role: str) -> Ed25519PrivateKey:
    """The key that is to follow; made once, so that an interrupted rotation goes on with the same one."""
    file = _next(role)
    if not file.exists():
        keys.save_private(keys.generate(), file)
    return keys.load_private(file)


def promote(role: str) -> None:
    """Put the staged key in the place of the one that was replaced. Safe in several processes at once."""
    old, new = path(FILES[role]), _next(role)
    with path("rotation.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not new.exists():
            return
        retired = path(f"{role}.retired-{keys.keyid(keys.load_private(old))[:16]}.pem")
        with suppress(FileExistsError):  # we were interrupted right here before
            retired.hardlink_to(old)
        new.replace(old)


def _current(role: str) -> Ed25519PrivateKey:
    key = keys.load_private(path(FILES[role]))
    wanted = _logged(role)
    if wanted in (None, keys.public_hex(key)):
        return key
    if _next(role).exists() and keys.public_hex(keys.load_private(_next(role))) == wanted:
        promote(role)
    key = keys.load_private(path(FILES[role]))
    if keys.public_hex(key) != wanted:
        raise KeyMaterialError(
            f"{path(FILES[role])} holds the key {keys.public_hex(key)}, but since the log's last key-rotation "
            f"the {role}'s key is {wanted}: put that key there, from its backup"
        )
    return key


def _logged(role: str) -> str | None:
    """The public key that the log's last rotation of this role brought; None if there was none."""
    for _, envelope in reversed(rotations()):
        said = Statement.decode(envelope.payload).predicate
        if isinstance(said, KeyRotation) and said.role == role:
            return said.new_key
    return None


def _next(role: str) -> Path:
    return path(f"{role}.next.pem")
