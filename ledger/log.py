"""The only writer of the log: append leaves, publish checkpoints, read proofs.

Lock and crash order: `append` and `publish_checkpoint` take one advisory lock until the transaction ends, so
leaves get consecutive indices and a checkpoint never sees half of an append. A leaf and the subtrees that it
completes are written in the caller's transaction, together with the row that the leaf is about: all of it or
none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from django.conf import settings
from django.db import connection, models, transaction

from ledger import keys
from ledger.models import Checkpoint, LogEntry, LogNode
from ledger.statements.dsse import Envelope
from ledger.statements.predicates.base import LogRef
from ledger.statements.statement import Statement
from ledger.tlog import checkpoint as tlog_checkpoint
from ledger.tlog import merkle

_LOCK = 0x756E6C6561726E  # "unlearn": an arbitrary number of our own among the database's advisory locks


class NotCosignedError(RuntimeError):
    """Too few witnesses have cosigned the log's head so far, so it is not published. The text says why."""


class _Nodes:
    """Reads stored subtree hashes (merkle.HashReader)."""

    def read(self, coordinates: Sequence[tuple[int, int]]) -> list[bytes]:
        wanted = models.Q()
        for level, index in coordinates:
            wanted |= models.Q(level=level, index=index)
        rows = LogNode.objects.filter(wanted).values_list("level", "index", "hash")
        found = {(level, index): bytes(value) for level, index, value in rows}
        return [found[level, index] for level, index in coordinates]


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
    lock()
    known = find(envelope)
    if known is not None:
        return known
    data, index = envelope.to_bytes(), size()
    leaf = merkle.leaf_hash(data)
    entry = LogEntry.objects.create(
        index=index,
        leaf_hash=leaf,
        envelope=data,
        predicate_type=Statement.decode(envelope.payload).predicate_type,
        statement_sha256=_digest(envelope),
        signer=signer,
    )
    nodes = merkle.new_nodes(index, leaf, _Nodes())
    LogNode.objects.bulk_create(LogNode(level=level, index=at, hash=value) for level, at, value in nodes)
    return entry


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
    return LogRef(index=entry.index, leaf_hash=bytes(entry.leaf_hash).hex())


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


def _digest(envelope: Envelope) -> str:
    return hashlib.sha256(envelope.payload).hexdigest()
