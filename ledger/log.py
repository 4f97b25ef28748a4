"""The only writer of the log: append leaves, publish checkpoints, read proofs.

Lock and crash order: `append` and `publish_checkpoint` take one advisory lock until the transaction ends, so
leaves get consecutive indices and a checkpoint never sees half of an append. A leaf and the subtrees that it
completes are written in the caller's transaction, together with the row that the leaf is about: all of it or
none. Who has many leaves writes them at once (`append_all`, `write`), in one look-up and two COPYs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.conf import settings
from django.db import connection, models, transaction
from django.utils import timezone

from ledger import keys, traces
from ledger.models import Checkpoint, LogEntry
from ledger.statements.dsse import Envelope
from ledger.statements.predicates.base import LogRef
from ledger.statements.statement import Statement
from ledger.tlog import checkpoint as tlog_checkpoint
from ledger.tlog import merkle

_LOCK = 0x756E6C6561726E  # "unlearn": an arbitrary number of our own among the database's advisory locks


_NAMED = 20  # kinds of so many statements of one transaction stand in its span


class NotCosignedError(RuntimeError):
    """Too few witnesses have cosigned the log's head so far, so it is not published. The text says why."""


_WANTED_NODES = """
    SELECT level, "index", hash FROM ledger_lognode
    JOIN unnest(%s::smallint[], %s::bigint[]) AS wanted(level, "index") USING (level, "index")
"""
# What stands in the log already, and its last index: one round trip while everybody else waits for the lock.
_KNOWN = """
    SELECT NULL, max("index"), NULL FROM ledger_logentry
    UNION ALL
    SELECT statement_sha256, "index", leaf_hash FROM ledger_logentry WHERE statement_sha256 = ANY(%s)
"""
_COPY_ENTRIES = """
    COPY ledger_logentry ("index", leaf_hash, envelope, predicate_type, statement_sha256, signer, created_at)
    FROM STDIN (FORMAT BINARY)
"""
_ENTRY_TYPES = ["int8", "bytea", "bytea", "varchar", "varchar", "varchar", "timestamptz"]
_COPY_NODES = 'COPY ledger_lognode (level, "index", hash) FROM STDIN (FORMAT BINARY)'
_NODE_TYPES = ["int2", "int8", "bytea"]


class _Nodes:
    """Reads stored subtree hashes (merkle.HashReader)."""

    def read(self, coordinates: Sequence[tuple[int, int]]) -> list[bytes]:
        levels, indices = [level for level, _ in coordinates], [index for _, index in coordinates]
        with connection.cursor() as cursor:
            cursor.execute(_WANTED_NODES, [levels, indices])
            found = {(level, index): bytes(value) for level, index, value in cursor.fetchall()}
        return [found[level, index] for level, index in coordinates]


@dataclass(frozen=True)
class Leaf:
    """What will stand in a row of LogEntry; made before the lock is taken, for hashing takes time."""

    data: bytes
    leaf_hash: bytes
    predicate_type: str
    statement_sha256: str
    signer: str

    @classmethod
    def of(cls, envelope: Envelope, signer: str) -> Leaf:
        """The leaf of a verified envelope. Raises StatementError, EnvelopeError if it can be none."""
        data = envelope.to_bytes()
        kind = Statement.decode(envelope.payload).predicate_type
        return cls(data, merkle.leaf_hash(data), kind, _digest(envelope), signer)


def lock() -> None:
    """Be the only writer until the transaction ends. Raises RuntimeError outside a transaction."""
    if not connection.in_atomic_block:
        raise RuntimeError("the log is written inside transaction.atomic only: leaf and row must land together")
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])


def size() -> int:
    """Number of leaves."""
    last = LogEntry.objects.aggregate(last=models.Max("index"))["last"]
    return 0 if last is None else last + 1


def find(envelope: Envelope) -> LogEntry | None:
    """The entry of the statement in `envelope`, if it was logged before."""
    return LogEntry.objects.filter(statement_sha256=_digest(envelope)).first()


def append(envelope: Envelope, signer: str) -> LogEntry:
    """Append a verified envelope, whose signature by key ID `signer` the caller has checked.

    The same statement again returns its first entry: whoever lost our answer may ask again.
    """
    leaf = Leaf.of(envelope, signer)
    lock()
    write([leaf])
    return LogEntry.objects.get(statement_sha256=leaf.statement_sha256)


def append_all(envelopes: Iterable[Envelope], signer: str) -> list[LogEntry]:
    """The same for many, which stand in the log one after the other."""
    leaves = [Leaf.of(envelope, signer) for envelope in envelopes]
    lock()
    write(leaves)
    found = LogEntry.objects.in_bulk([leaf.statement_sha256 for leaf in leaves], field_name="statement_sha256")
    return [found[leaf.statement_sha256] for leaf in leaves]


def write(leaves: Iterable[Leaf]) -> dict[str, LogRef]:
    """Append what is not there yet, in order, and say where each statement stands, by its SHA-256.

    The caller holds the lock (`lock`); its transaction decides whether any of it has happened.
    """
    wanted = {leaf.statement_sha256: leaf for leaf in reversed(list(leaves))}  # of equal ones the first stays
    with connection.cursor() as cursor:
        cursor.execute(_KNOWN, [list(wanted)])
        (_, last, _), *rows = cursor.fetchall()
    placed = {digest: _ref(index, bytes(value)) for digest, index, value in rows}
    new = [leaf for digest, leaf in reversed(wanted.items()) if digest not in placed]
    if new:
        first = 0 if last is None else last + 1
        kinds = [leaf.predicate_type.split(":")[-2] for leaf in new[:_NAMED]]
        with traces.span("log", {"ledger.statements": kinds, "ledger.first_index": first}):
            _insert(first, new)
        placed |= {leaf.statement_sha256: _ref(first + at, leaf.leaf_hash) for at, leaf in enumerate(new)}
    return placed


def _insert(first: int, leaves: Sequence[Leaf]) -> None:
    """Write rows and completed subtrees of leaves number `first` and up; the tree is computed in memory."""
    edge = _Edge(first)
    nodes = [
        node
        for index, leaf in enumerate(leaves, first)
        for node in edge.keep(merkle.new_nodes(index, leaf.leaf_hash, edge))
    ]
    now = timezone.now()
    rows = (
        (index, leaf.leaf_hash, leaf.data, leaf.predicate_type, leaf.statement_sha256, leaf.signer, now)
        for index, leaf in enumerate(leaves, first)
    )
    _copy(_COPY_ENTRIES, _ENTRY_TYPES, rows)
    _copy(_COPY_NODES, _NODE_TYPES, nodes)


def _copy(order: str, types: list[str], rows: Iterable[tuple[object, ...]]) -> None:
    """Write rows by COPY: half the work of an INSERT on both sides."""
    with connection.cursor() as cursor, cursor.copy(order) as copy:
        copy.set_types(types)
        for row in rows:
            copy.write_row(row)


class _Edge:
    """The right edge of a growing tree: the complete subtrees that the next leaves join (merkle.HashReader)."""

    def __init__(self, leaves: int) -> None:
        waiting = [(level, (leaves >> level) - 1) for level in range(leaves.bit_length()) if leaves >> level & 1]
        hashes = _Nodes().read(waiting) if waiting else []
        self._at_level = {level: value for (level, _), value in zip(waiting, hashes, strict=True)}

    def read(self, coordinates: Sequence[tuple[int, int]]) -> list[bytes]:
        return [self._at_level[level] for level, _ in coordinates]

    def keep(self, nodes: list[tuple[int, int, bytes]]) -> list[tuple[int, int, bytes]]:
        """Of new nodes only the last, which waits for a right half, is ever read."""
        level, _, value = nodes[-1]
        self._at_level[level] = value
        return nodes


@transaction.atomic
def publish_checkpoint() -> Checkpoint:
    """The signed head of the log as it is now; signed and stored once per size.

    Where witnesses are configured only `ledger.publication` publishes: NotCosignedError until it has.
    """
    lock()
    leaves = size()
    known = Checkpoint.objects.filter(size=leaves).first()
    if known is not None:
        return known
    if settings.LEDGER_WITNESSES:
        raise NotCosignedError(f"the head of {leaves} entries waits for the cosignatures of its witnesses")
    root = root_at(leaves)
    return Checkpoint.objects.create(size=leaves, root=root, note=sign_head(leaves, root))


def root_at(leaves: int) -> bytes:
    """Root of the tree's first `leaves` leaves."""
    return merkle.tree_root(leaves, _Nodes())


def sign_head(leaves: int, root: bytes) -> str:
    """The signed note of a head. Signing commits us: only one root may ever be signed for a size."""
    head = tlog_checkpoint.Checkpoint(settings.LEDGER_ORIGIN, leaves, root)
    return tlog_checkpoint.sign_checkpoint(head, keys.log_signer())


@transaction.atomic
def first_checkpoint_covering(entry: LogEntry) -> Checkpoint:
    """The smallest published checkpoint that covers `entry`; if there is none, one is published now.

    Raises NotCosignedError as `publish_checkpoint` does.
    """
    lock()
    found = Checkpoint.objects.filter(size__gt=entry.index).order_by("size").first()
    return found or publish_checkpoint()


def latest_checkpoint() -> Checkpoint | None:
    """The largest published checkpoint."""
    return Checkpoint.objects.order_by("-size").first()


def entry_ref(entry: LogEntry) -> LogRef:
    """How later statements point at `entry`."""
    return _ref(entry.index, bytes(entry.leaf_hash))


def resolve(ref: LogRef) -> LogEntry | None:
    """The entry that `ref` points at; None if there is none, or another leaf stands at its index."""
    entry = LogEntry.objects.filter(index=ref.index).first()
    return entry if entry is not None and bytes(entry.leaf_hash).hex() == ref.leaf_hash else None


def statement(entry: LogEntry) -> Statement:
    """What the leaf says."""
    return Statement.decode(Envelope.parse(bytes(entry.envelope)).payload)


def inclusion(index: int, tree_size: int) -> list[bytes]:
    """Proof that leaf `index` is in the tree of `tree_size` leaves (RFC 9162 section 2.1.3). Raises
    ProofError.
    """
    return merkle.prove_inclusion(index, tree_size, _Nodes())


def consistency(old: int, new: int) -> list[bytes]:
    """Proof that the tree of `old` leaves is a prefix of that of `new` (RFC 9162 section 2.1.4). Raises
    ProofError.
    """
    return merkle.prove_consistency(old, new, _Nodes())


def subtrees(coordinates: Sequence[merkle.Coordinate]) -> list[bytes]:
    """Hashes of complete subtrees (level, index), in the order asked."""
    return _Nodes().read(coordinates)


def _digest(envelope: Envelope) -> str:
    return hashlib.sha256(envelope.payload).hexdigest()


def _ref(index: int, leaf_hash: bytes) -> LogRef:
    return LogRef(index=index, leaf_hash=leaf_hash.hex())
