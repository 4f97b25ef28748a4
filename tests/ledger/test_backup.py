"""Backups: made while everything runs, restored into an empty database, checked; keys apart."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import LazySettings

from ledger import keys
from ledger.backup import manifest
from ledger.backup.errors import BackupError
from ledger.backup.keysfile import restore_keys, save_keys
from ledger.statements.keys import load_private
from ledger.tlog import merkle
from ledger.tlog.checkpoint import Checkpoint, sign_checkpoint
from ledger.tlog.note import NoteSigner
from ledger.witness.protocol import AddCheckpoint
from ledger.witness.store import open_signer
from tests.ledger.witness.parts import serving, witness_in
from tests.shared import put_cluster

ROOT = Path(__file__).resolve().parents[2]
PASSPHRASE = "correct horse battery staple"

#: In the new installation: keys and database restored by the commands; then one of the attacks on the backup.
SCRIPT = """
import os, sys, django
django.setup()
from django.core.management import CommandError, call_command
from django.conf import settings
from ledger import embedded
try:
    for command in sys.argv[1:]:
        status = 0
        try:
            call_command(*command.split("|"))
        except CommandError as error:
            status = error.returncode
            print(f"status {status}: {error}", file=sys.stderr)
finally:
    embedded.stop(settings.LEDGER_DATA_DIR)
sys.exit(status)
"""


class Place:
    """An installation of its own, with the embedded database."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("LEDGER_")} | {
            "LEDGER_DATA_DIR": str(folder),
            "DJANGO_SETTINGS_MODULE": "ledger.settings",
            "LEDGER_BACKUP_PASSPHRASE": PASSPHRASE,
        }

    def call(self, *commands: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", SCRIPT, *commands],
            cwd=ROOT, env=self.environment | more, capture_output=True, text=True, check=False,
        )  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A ledger whose keys were rotated; its backup, and that of its keys."""
    folder = tmp_path_factory.mktemp("backup")
    put_cluster(tmp_path_factory, folder / "first")
    place = Place(folder / "first")
    done = place.call(
        "init", "invite_client|clinic", "rotate_key|provider", "rotate_key|log",
        f"backup|{folder / 'kept'}", f"backup|--keys|{folder / 'keys'}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "2 entries, 0 files" in done.stdout
    return folder / "kept", folder / "keys"


@pytest.mark.slow
def test_a_round_trip(made: tuple[Path, Path], tmp_path: Path) -> None:
    """Of two witnesses one has gone on with the log since the backup, and one has gone away."""
    kept, locked = made
    said = manifest.read(kept)
    assert said.entries == 2
    assert kept.stat().st_mode & 0o077 == 0
    place = Place(tmp_path / "second")
    log = NoteSigner(said.origin, load_private(kept.parent / "first" / "keys" / "log.pem"))
    root = merkle.node_hash(bytes.fromhex(said.root), merkle.leaf_hash(b"what the backup lacks"))
    later = AddCheckpoint(0, (), sign_checkpoint(Checkpoint(said.origin, 3, root), log))
    there = witness_in(tmp_path / "there", [log], "there.example")
    assert there.add_checkpoint(later.format()).status == 200
    gone = open_signer(tmp_path / "gone", "gone.example").vkey
    with serving(there) as url:
        vkey = (tmp_path / "there" / "witness.vkey").read_text().strip()
        witnesses = f"{url} {vkey}, http://127.0.0.1:9 {gone}"
        done = place.call(
            f"restore|--keys|{locked}", f"restore|{kept}", f"restore|{kept}", LEDGER_WITNESSES=witnesses
        )
    assert "2 entries as of" in done.stdout, done.stderr
    assert "restored, and they hold" in done.stdout
    assert "not the newest copy: there.example: the witness has cosigned 3 entries, this log has 2" in done.stderr
    assert re.findall("status ([0-9]):", done.stderr) == ["3", "1"]
    assert "could not say whether this is the newest copy: gone.example: no answer" in done.stderr
    assert "the database is not empty" in done.stderr  # the second time


def test_a_damaged_backup_is_refused(made: tuple[Path, Path], tmp_path: Path) -> None:
    kept, _ = made
    text = json.loads((kept / manifest.NAME).read_text())
    (tmp_path / manifest.DUMP).write_bytes((kept / manifest.DUMP).read_bytes()[:-1] + b"x")
    for changes, words in (({}, "damaged"), ({"format": 2}, "cannot be read"), ({"more": 1}, "cannot be read")):
        (tmp_path / manifest.NAME).write_text(json.dumps(text | changes))
        with pytest.raises(BackupError, match=words):
            manifest.read(tmp_path)
    with pytest.raises(BackupError, match="no finished backup"):
        manifest.read(tmp_path / "none")


def test_keys_under_a_passphrase(tmp_path: Path, settings: LazySettings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The attacks: a wrong passphrase, a changed byte, a file over keys that are there."""
    monkeypatch.setattr("ledger.backup.keysfile._COST", 2**10)  # the round trip takes the real one
    source, target = tmp_path / "keys.sealed", tmp_path / "new"
    mine = keys.path(keys.LOG).read_bytes()
    with pytest.raises(BackupError, match="at least 12"):
        save_keys(source, "short")
    assert save_keys(source, PASSPHRASE) >= 2
    sealed = source.read_bytes()
    assert source.stat().st_mode & 0o777 == 0o600
    assert b"PRIVATE" not in sealed
    with pytest.raises(BackupError, match="exists"):
        save_keys(source, PASSPHRASE)
    with pytest.raises(BackupError, match="not empty"):
        restore_keys(source, PASSPHRASE)
    settings.LEDGER_DATA_DIR = target
    with pytest.raises(BackupError, match="wrong passphrase"):
        restore_keys(source, PASSPHRASE + "!")
    for at in (10, -1):
        changed = bytearray(sealed)
        changed[at] ^= 1
        source.write_bytes(changed)
        with pytest.raises(BackupError, match="does not open"):
            restore_keys(source, PASSPHRASE)
    source.write_bytes(b"something else")
    with pytest.raises(BackupError, match="no file of keys"):
        restore_keys(source, PASSPHRASE)
    assert not target.exists()
    source.write_bytes(sealed)
    restore_keys(source, PASSPHRASE)
    assert keys.path(keys.LOG).read_bytes() == mine
    assert {path.stat().st_mode & 0o777 for path in (target / "keys").iterdir()} == {0o600}
