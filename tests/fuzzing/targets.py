"""What is fuzzed: functions of bytes, which may refuse them in their own words and no others; and real documents.

Two of the targets read the same bytes in two ways, the fast one of usual forms and the strict one, and compare.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from benchmarks import bundle as bundles
from ledger.bundle.errors import BundleFormatError
from ledger.statements.dsse import Envelope
from ledger.statements.errors import StatementError
from ledger.statements.statement import Statement
from ledger.tlog import tiles
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.errors import TlogError
from ledger.tlog.note import parse_note
from prover_worker.audit.opening import open_bundle
from prover_worker.bundle import ProofBundle, format_bundle, parse_bundle
from prover_worker.errors import AuditError, ProverError
from unlearning.errors import UnlearningError
from unlearning.maskfile import format_mask, parse_mask

WIDTH = 3  # hashes in a tile, records in an entry bundle


@dataclass(frozen=True)
class Target:
    """`read` raises one of `refusals` or nothing; `seeds` makes documents that it takes."""

    read: Callable[[bytes], object]
    refusals: tuple[type[Exception], ...]
    seeds: Callable[[], list[bytes]]


@cache
def _log() -> bundles.Log:
    """A log with a window in it."""
    return bundles.make(1)


def _leaves() -> list[bytes]:
    """One of each kind."""
    found = {Statement.decode(Envelope.from_leaf(leaf).payload).predicate.slug: leaf for leaf in _log().leaves}
    return list(found.values())


def _statement(data: bytes) -> None:
    fast = Statement._from_common(data)
    strict = Statement._read(data)
    assert fast in (None, strict), "the two ways of reading a statement disagree"


def _envelope(data: bytes) -> None:
    fast = Envelope._from_common_leaf(data)
    strict = Envelope._read(data)
    assert fast is None or (fast == strict and strict.to_bytes() == data), "the two ways of reading a leaf disagree"


def _note(data: bytes) -> None:
    Checkpoint.parse(parse_note(data.decode("utf-8", "replace")).body)


def _tile(data: bytes) -> None:
    assert tiles.format_tile(tiles.parse_tile(data, WIDTH)) == data


def _records(data: bytes) -> None:
    assert tiles.format_bundle(tiles.parse_bundle(data, WIDTH)) == data


def _mask(data: bytes) -> None:
    total, indices = parse_mask(data)
    assert indices.size == 0 or 0 <= indices[0] <= indices[-1] < total


def _proofs(data: bytes) -> None:
    assert format_bundle(parse_bundle(data)) == data


def _bundle(data: bytes) -> None:
    open_bundle(io.BytesIO(data))


def _small_bundle() -> list[bytes]:
    log = bundles.Log()
    bundles._releases(log)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "bundle.zip")
        log.write(path)
        return [path.read_bytes()]


TARGETS: dict[str, Target] = {
    "statement": Target(
        _statement, (StatementError,), lambda: [Envelope.from_leaf(leaf).payload for leaf in _leaves()]
    ),
    "envelope": Target(_envelope, (StatementError,), _leaves),
    "note": Target(_note, (TlogError,), lambda: [_log().checkpoint()[1].encode()]),
    "tile": Target(_tile, (TlogError,), lambda: [bytes(32 * WIDTH)]),
    "records": Target(_records, (TlogError,), lambda: [tiles.format_bundle(_log().leaves[:WIDTH])]),
    "mask": Target(_mask, (UnlearningError,), lambda: [format_mask(40_000, list(range(5, 40_000, 37)))]),
    "proofs": Target(_proofs, (ProverError,), lambda: [format_bundle(ProofBundle({1: b"a", 7: b"bc"}, {0: b"d"}))]),
    "bundle": Target(_bundle, (BundleFormatError, AuditError), _small_bundle),
}


def attempt(target: Target, data: bytes) -> None:
    """Whatever is raised here is a finding."""
    try:
        target.read(data)
    except target.refusals:
        return
