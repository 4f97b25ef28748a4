"""The served log, read by Go's sumdb libraries: notes, tiles, records and proofs by somebody else's code."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction

from ledger import keys, log
from ledger.models import LogEntry
from tests.ledger.test_log import SIGNER, append, envelope

GOCODE = Path("/usr/share/gocode")
SOURCE = Path(__file__).parent / "go" / "main.go"
SIZES = (1, 2, 256, 300)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(
        shutil.which("go") is None or not (GOCODE / "src/golang.org/x/mod/sumdb/tlog").is_dir(),
        reason="Go's sumdb libraries are missing: run `make foreign-tools`, or "
        "`apt-get install golang-go golang-golang-x-mod-dev`",
    ),
]


@pytest.fixture(scope="module")
def readlog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("go")
    environment = {**os.environ, "GOPATH": str(GOCODE), "GO111MODULE": "off", "GOFLAGS": "", "CGO_ENABLED": "0"}
    subprocess.run(["go", "build", "-o", str(folder / "readlog"), str(SOURCE)], env=environment, check=True)
    return folder / "readlog"


def read(readlog: Path, address: str, key: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(readlog), address, key], capture_output=True, text=True, check=False, timeout=120)


def test_go_reads_and_verifies_the_served_log(readlog: Path, live_server: Any) -> None:
    key = keys.log_signer().vkey
    for size in SIZES:
        with transaction.atomic():
            log.append_all([envelope() for _ in range(size - log.size())], SIGNER)
        log.publish_checkpoint()
        if size + 1 not in SIZES:
            append()  # not covered by any checkpoint, so it must not be served
        found = read(readlog, live_server.url, key)
        assert (found.returncode, found.stdout) == (0, f"verified {size} records\n"), found.stderr
    other = key.replace("+", "+0", 1)
    assert read(readlog, live_server.url, other).returncode != 0


@pytest.mark.parametrize("column", ["envelope", "hash"])
def test_go_notices_a_changed_row(readlog: Path, live_server: Any, column: str) -> None:
    """Somebody who owns the database changes a leaf, or a hash of the tree; the checkpoint is out already."""
    import pgtrigger

    from ledger.models import LogNode

    append(5)
    log.publish_checkpoint()
    with pgtrigger.ignore("ledger.LogEntry:append_only", "ledger.LogNode:append_only"):
        if column == "envelope":
            entry = LogEntry.objects.get(index=2)
            LogEntry.objects.filter(index=2).update(envelope=bytes(entry.envelope) + b" ")
        else:
            LogNode.objects.filter(level=0, index=2).update(hash=bytes(32))
    found = read(readlog, live_server.url, keys.log_signer().vkey)
    assert found.returncode != 0
    assert "record 2" in found.stderr or "inconsistent" in found.stderr or "not authenticated" in found.stderr
