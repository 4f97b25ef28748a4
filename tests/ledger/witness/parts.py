"""A log of a few lines, and witnesses as they run elsewhere: in a thread, or in a process of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ledger.tlog import merkle
from ledger.tlog.checkpoint import Checkpoint, sign_checkpoint
from ledger.tlog.cosignature import CosignatureSigner
from ledger.tlog.note import NoteSigner
from ledger.witness.core import Answer, Witness
from ledger.witness.protocol import AddCheckpoint
from ledger.witness.server import WitnessServer
from ledger.witness.store import FileHeads, open_signer

ROOT = Path(__file__).resolve().parents[3]
ORIGIN = "ledger.example/log"
NOW = 1_700_000_000


def key(letter: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(letter.encode() * 32)


class SmallLog:
    """Signs whatever it is told to: also two histories."""

    def __init__(self, records: int, salt: str = "", signer: NoteSigner | None = None) -> None:
        self.signer = signer or NoteSigner(ORIGIN, key("l"))
        self.tree = merkle.MemoryTree(f"{salt}{number}".encode() for number in range(records))

    def head(self, size: int) -> Checkpoint:
        return Checkpoint(self.signer.name, size, self.tree.root(size))

    def note(self, size: int) -> str:
        return sign_checkpoint(self.head(size), self.signer)

    def request(self, old: int, size: int) -> bytes:
        proof = merkle.prove_consistency(old, size, self.tree)
        return AddCheckpoint(old, tuple(proof), self.note(size)).format()


class MemoryHeads:
    """A fake of FileHeads; both pass the same tests."""

    def __init__(self) -> None:
        self.notes: dict[str, str] = {}
        self.evidence: dict[str, str] = {}
        self._lock = threading.Lock()

    @contextmanager
    def exclusive(self, origin: str) -> Iterator[None]:
        with self._lock:
            yield

    def load(self, origin: str) -> str | None:
        return self.notes.get(origin)

    def save(self, origin: str, note: str) -> None:
        self.notes[origin] = note

    def keep_evidence(self, name: str, text: str) -> None:
        self.evidence.setdefault(name, text)


def signer(name: str = "witness.example/w1", letter: str = "w") -> CosignatureSigner:
    return CosignatureSigner(name, key(letter))


@contextmanager
def serving(witness: Witness, port: int = 0) -> Iterator[str]:
    """Serve a witness over HTTP in a thread; its URL."""
    with WitnessServer(("127.0.0.1", port), witness) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.url
        finally:
            server.shutdown()
            thread.join()


def witness_in(folder: Path, logs: list[NoteSigner], name: str | None = None, clock: int = NOW) -> Witness:
    known = {log.name: [log.verifier] for log in logs}
    return Witness(open_signer(folder, name), known, FileHeads(folder), lambda: clock)


def post(url: str, body: bytes, path: str = "/add-checkpoint") -> Answer:
    request = urllib.request.Request(url + path, body, {"Content-Type": "text/plain"})
    try:
        with urllib.request.urlopen(request, timeout=10) as got:
            return Answer(got.status, got.read(), got.headers["Content-Type"])
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.read(), error.headers["Content-Type"])


class WitnessProcess:
    """`python -m ledger.witness`, or a program that behaves like it, as a process that can be killed."""

    def __init__(self, folder: Path, vkey: str, port: int = 0, program: str | None = None) -> None:
        start = ["-m", "ledger.witness"] if program is None else ["-c", program]
        options = ["--state", str(folder), "--log", vkey, "--listen", f"127.0.0.1:{port}", "--name", "w.example/p"]
        # Nothing of Django's settings or database must be needed.
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("DJANGO", "LEDGER", "DATABASE"))}
        self.process = subprocess.Popen(
            [sys.executable, *start, *options],
            cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        self.vkey = self.read("witness key: ")
        self.url = self.read("listening on ")

    def read(self, prefix: str) -> str:
        """Wait for a line on stdout; the rest of it."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(prefix):
                return line.removeprefix(prefix).strip()
        raise AssertionError(f"the witness ended with {self.process.wait()} before it said {prefix!r}")

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


#: The real program, stopped for ever right before or right after it persists.
STOPPING = """
import sys, time
from ledger.witness import store, __main__ as program

class Stopping(store.FileHeads):
    def save(self, origin, note):
        if {before}:
            print("stopped here", flush=True)
            time.sleep(600)
        super().save(origin, note)
        print("stopped here", flush=True)
        time.sleep(600)

program.FileHeads = Stopping
sys.exit(program.main(sys.argv[1:]))
"""
