"""The provider's keys, in LEDGER_DATA_DIR/keys: `log.pem` for checkpoints, `provider.pem` for statements."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.conf import settings

from ledger.statements import keys
from ledger.tlog.note import NoteSigner

LOG, PROVIDER = "log.pem", "provider.pem"


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


def log_signer() -> NoteSigner:
    """Signs checkpoints under the log's origin. Raises KeyMaterialError if the key is missing or unsafe."""
    return NoteSigner(settings.LEDGER_ORIGIN, keys.load_private(path(LOG)))


def provider_key() -> Ed25519PrivateKey:
    """Signs the provider's statements. Raises KeyMaterialError if the key is missing or unsafe."""
    return keys.load_private(path(PROVIDER))
