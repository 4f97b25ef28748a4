"""A witness that anybody can run: it needs this package, a folder and a log's verifier key, and no database.

    python -m ledger.witness --state DIR --name witness.example/w1
    python -m ledger.witness --state DIR --log VKEY [--log VKEY ...] --listen HOST:PORT

The first form makes the witness's key and prints its verifier key, which the log's operator needs. The second
also serves. Two keys of one log (after a rotation) are two `--log`. The folder must never be restored from an
older copy: a witness that forgets would cosign a second history.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from ledger.statements.errors import KeyMaterialError
from ledger.tlog.errors import NoteError
from ledger.tlog.note import NoteVerifier
from ledger.witness.core import Witness
from ledger.witness.errors import StateError, WitnessError
from ledger.witness.server import WitnessServer
from ledger.witness.store import FileHeads, open_signer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options, here and in `manage.py witness`."""
    parser.add_argument("--state", type=Path, required=True, help="folder of the witness's key and memory")
    parser.add_argument("--name", help="the witness's name, on first use: a URL without scheme, for ever")
    parser.add_argument("--log", action="append", default=[], metavar="VKEY", help="verifier key of a log")
    parser.add_argument("--listen", metavar="HOST:PORT", help="serve there; port 0 takes a free one")


def run(state: Path, name: str | None, logs: Sequence[str], listen: str | None) -> None:
    """Print the witness's verifier key and, with `listen`, serve until interrupted.

    Raises WitnessError, NoteError, KeyMaterialError or OSError where that cannot be.
    """
    signer = open_signer(state, name)
    print(f"witness key: {signer.vkey}", flush=True)
    if listen is None:
        return
    known: dict[str, list[NoteVerifier]] = {}
    for vkey in logs:
        verifier = NoteVerifier.parse(vkey)
        known.setdefault(verifier.name, []).append(verifier)
    if not known:
        raise StateError("a witness serves logs it knows: give at least one --log VKEY")
    witness = Witness(signer, known, FileHeads(state), time.time)
    for origin in known:
        print(f"log {origin}: cosigned up to size {witness.latest(origin).size}", flush=True)
    with WitnessServer(_address(listen), witness) as server:
        print(f"listening on {server.url}", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("stopped", flush=True)


def _address(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not host or not (port.isascii() and port.isdigit()) or int(port) > 65_535:
        raise StateError(f"--listen takes HOST:PORT, as 127.0.0.1:8765, got {text!r}")
    return host.removeprefix("[").removesuffix("]"), int(port)


def parser() -> argparse.ArgumentParser:
    """The argument parser."""
    top = argparse.ArgumentParser(prog="python -m ledger.witness", description="A witness for logs.")
    add_arguments(top)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    options = parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        run(options.state, options.name, options.log, options.listen)
    except (WitnessError, NoteError, KeyMaterialError, OSError) as error:
        print(f"witness: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
