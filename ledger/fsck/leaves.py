"""One batch of the log, read and checked as far as that goes without knowing what came before it.

This is the bulk of the work, and it may run in another process: nothing here needs Django. A batch is 4,096
entries, aligned, so its own subtrees are complete and can be compared with the stored ones right here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ledger.statements import keys
from ledger.statements.dsse import PAYLOAD_TYPE, Envelope
from ledger.statements.errors import KeyMaterialError, SignatureError, StatementError
from ledger.statements.predicates import (
    ClientEnrolment,
    ClientKeyAddition,
    ClientKeyRotation,
    KeyRotation,
    Predicate,
)
from ledger.statements.statement import Statement
from ledger.tlog.checkpoint import Checkpoint, open_checkpoint
from ledger.tlog.errors import NoteError, TlogError
from ledger.tlog.merkle import HASH_SIZE, leaf_hash, node_hash
from ledger.tlog.note import NoteVerifier

LEVELS: Final = 12
BATCH: Final = 1 << LEVELS

Rows = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]

_ENTRIES: Final = """
    SELECT index, leaf_hash, envelope, predicate_type, statement_sha256, signer
    FROM ledger_logentry WHERE index >= %s AND index < %s ORDER BY index
"""
_NODES: Final = """
    SELECT index, hash FROM ledger_lognode WHERE level = %s AND index >= %s AND index < %s ORDER BY index
"""
_CHECKPOINTS: Final = """
    SELECT size, root, note FROM ledger_checkpoint WHERE size > %s AND size <= %s ORDER BY size
"""
_CLIENT_KEYS: Final = "SELECT keyid, public_key FROM ledger_clientkey WHERE keyid = ANY(%s)"


@dataclass(frozen=True)
class Leaf:
    """What one entry says, and the public keys (hex) that were seen to have signed it."""

    predicate: Predicate
    signed_by: frozenset[str]


@dataclass(frozen=True)
class Head:
    """A row of the checkpoint table; `key` is the log key that signed its note, None if none of those known did."""

    size: int
    root: bytes
    note: str
    signed: Checkpoint | None
    key: str | None


@dataclass
class Batch:
    """Entries from `low` on. `problem` is the first thing that is wrong with entry low + len(leaves)."""

    low: int
    leaves: list[Leaf] = field(default_factory=list)
    hashes: list[bytes] = field(default_factory=list)
    heads: list[Head] = field(default_factory=list)
    problem: str = ""
    node_problem: str = ""


def read_batch(rows: Rows, low: int, high: int, candidates: Candidates) -> Batch:
    """Read and check entries low..high (`low` a multiple of BATCH), their subtrees, checkpoints low < size <= high.

    Checked are indices, leaf hashes, the envelopes' and statements' form, the columns that repeat them, and which
    keys have signed. Whether those are the right keys depends on what came before.
    """
    batch = Batch(low)
    found = rows(_ENTRIES, (low, high))
    candidates.look_up(rows, (bytes(row[2]) for row in found))
    for row, expected in zip(found, range(low, high), strict=False):
        problem = _read_entry(batch, row, expected, candidates)
        if problem:
            batch.problem = problem
            return batch
    if len(found) < high - low:
        missing = low + len(found)
        batch.problem = f"log entry {missing} is missing: the log has later ones"
        return batch
    batch.node_problem = compare_nodes(rows, low, batch.hashes, range(LEVELS + 1))
    batch.heads = [_read_head(candidates, *row) for row in rows(_CHECKPOINTS, (low, high))]
    return batch


def compare_nodes(rows: Rows, low: int, hashes: list[bytes], levels: range) -> str:
    """Compare the subtrees over `hashes` (at levels[0], from index low >> levels[0] on) with the stored ones.

    Returns the first difference in words, or nothing.
    """
    for level in levels:
        first = low >> level
        if not hashes:
            break
        stored = rows(_NODES, (level, first, first + len(hashes)))
        for (index, got), at in zip(stored, range(first, first + len(hashes)), strict=False):
            if index != at:
                return f"the hash of level {level}, subtree {at}, is missing"
            if bytes(got) != hashes[at - first]:
                return (
                    f"the hash of level {level}, subtree {at}, is {bytes(got).hex()}, "
                    f"the leaves give {hashes[at - first].hex()}"
                )
        if len(stored) < len(hashes):
            return f"the hash of level {level}, subtree {first + len(stored)}, is missing"
        hashes = [node_hash(hashes[i], hashes[i + 1]) for i in range(0, len(hashes) - 1, 2)]
    return ""


class Candidates:
    """Keys that an envelope or a note may be signed with. A wrong one among them does no harm."""

    def __init__(self, origin: str, statement_keys: Mapping[str, str], log_keys: Sequence[str]) -> None:
        self.origin, self.log_keys = origin, list(log_keys)
        self._own = dict(statement_keys)
        self._clients: dict[str, str] = {}

    def look_up(self, rows: Rows, envelopes: Iterator[bytes]) -> None:
        """Find the clients' keys that the batch needs, by the hints in its envelopes."""
        hints = {hint for data in envelopes for hint in _hints(data)} - set(self._own)
        self._clients = dict(rows(_CLIENT_KEYS, (sorted(hints),))) if hints else {}

    def get(self, keyid: str) -> str | None:
        """The public key with this ID."""
        return self._own.get(keyid) or self._clients.get(keyid)


def _hints(data: bytes) -> list[str]:
    """Key IDs in an envelope as `Envelope.to_bytes` writes it, found without parsing it."""
    return [part[:64].decode(errors="replace") for part in data.split(b'"keyid":"')[1:]]


def _read_entry(batch: Batch, row: tuple[Any, ...], expected: int, candidates: Candidates) -> str:
    index, stored, raw, kind, digest, signer = row
    raw = bytes(raw)
    if index != expected:
        return f"log entry {expected} is missing: the next one has index {index}"
    leaf = leaf_hash(raw)
    if bytes(stored) != leaf:
        return f"log entry {index} has the leaf hash {leaf.hex()}, but {bytes(stored).hex()} is stored"
    try:
        envelope = Envelope.from_leaf(raw)
        if envelope.payload_type != PAYLOAD_TYPE:
            return f"log entry {index} has the payloadType {envelope.payload_type!r}, expected {PAYLOAD_TYPE!r}"
        predicate = Statement.decode(envelope.payload).predicate
    except StatementError as error:
        return f"log entry {index} holds no statement: {error}"
    facts = (predicate.type_uri(), hashlib.sha256(envelope.payload).hexdigest(), envelope.signatures[0].keyid)
    for name, got, want in zip(
        ("predicate_type", "statement_sha256", "signer"), (kind, digest, signer), facts, strict=True
    ):
        if got != want:
            return f"log entry {index} has the {name} {got!r} in its row, but its envelope says {want!r}"
    batch.leaves.append(Leaf(predicate, _signed_by(envelope, predicate, candidates)))
    batch.hashes.append(leaf)
    return ""


def _signed_by(envelope: Envelope, predicate: Predicate, candidates: Candidates) -> frozenset[str]:
    """The keys that have signed, among those that the hints name and those that the statement brings."""
    wanted = {candidates.get(signature.keyid) for signature in envelope.signatures}
    match predicate:
        case ClientEnrolment() | ClientKeyAddition() | ClientKeyRotation():
            wanted.add(predicate.public_key)
        case KeyRotation():
            wanted |= {predicate.old_key, predicate.new_key}
    return frozenset(key for key in wanted if key is not None and _has_signed(envelope, key))


def _has_signed(envelope: Envelope, key: str) -> bool:
    try:
        envelope.verify(_public(key))
    except (SignatureError, KeyMaterialError):
        return False
    return True


@lru_cache(maxsize=10_000)
def _public(key: str) -> Ed25519PublicKey:
    return keys.public_from_hex(key)


def _read_head(candidates: Candidates, size: int, root: bytes, note: str) -> Head:
    for key in candidates.log_keys:
        try:
            signed = open_checkpoint(note, NoteVerifier(candidates.origin, _public(key)), candidates.origin)
        except NoteError:
            continue
        except TlogError:
            break
        return Head(size, bytes(root), note, signed, key)
    return Head(size, bytes(root), note, None, None)


class Frontier:
    """The complete subtrees of a growing tree: enough for its root at every size, O(log size) hashes."""

    def __init__(self) -> None:
        self.size = 0
        self._subtrees: list[bytes] = []  # one for each bit that is set in `size`, the largest first

    def append(self, leaf: bytes) -> None:
        """Take the next leaf hash."""
        current, size = leaf, self.size
        while size & 1:
            current = node_hash(self._subtrees.pop(), current)
            size >>= 1
        self._subtrees.append(current)
        self.size += 1

    def root(self) -> bytes:
        """The root as it is now (RFC 6962 section 2.1); of a tree with at least one leaf."""
        current = self._subtrees[-1]
        for left in reversed(self._subtrees[:-1]):
            current = node_hash(left, current)
        assert len(current) == HASH_SIZE
        return current
