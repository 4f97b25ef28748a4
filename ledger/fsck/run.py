"""The plan of fsck, on one snapshot of the database.

1. Batch by batch (`leaves`, in several processes): indices without gaps, leaf hashes, envelopes, the columns that
   repeat what they say, stored subtree hashes, signatures of entries and checkpoints.
2. In the log's order: each entry is signed by the keys that count at its index (`statements.keyring`) and may
   follow what came before (`statements.rules`); a challenge's checkpoint is one that was published.
3. Each checkpoint is signed by the log's key at its size and has the root that the leaves give.
4. The upper subtrees, that nothing is stored beyond the log's size, and what witnesses were asked and said
   (`cosignatures`).
5. Every other table is what the statements make it (`tables`).

The first thing that is wrong is raised as FsckError, in words that name it, what was got and what was expected.
A statement that later ones may refer to is kept in memory, some 2 kB each; enrolments are not.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from ledger import keys
from ledger.fsck import cosignatures, leaves, pool
from ledger.fsck.errors import FsckError
from ledger.fsck.leaves import BATCH, LEVELS, Batch, Candidates, Frontier, Head, Leaf
from ledger.fsck.tables import Tables
from ledger.models import FsckRun
from ledger.statements import keys as key_format
from ledger.statements.dsse import Envelope
from ledger.statements.errors import RuleError, StatementError
from ledger.statements.keyring import KeyRing
from ledger.statements.order_rules import check_challenge_size
from ledger.statements.predicates import Challenge, ClientEnrolment, ContinuationChallenge, KeyRotation
from ledger.statements.rules import check
from ledger.statements.statement import Statement
from ledger.statements.story import Story
from ledger.tlog.errors import TlogError
from ledger.tlog.merkle import EMPTY_ROOT

logger = logging.getLogger(__name__)

Report = Callable[[str, int, int], None]
_ENVELOPE: Final = "SELECT envelope FROM ledger_logentry WHERE index = %s"


@dataclass(frozen=True)
class Figures:
    """What was checked, and how long it took."""

    entries: int
    checkpoints: int
    rows: int
    seconds: float


@dataclass
class _Walk:
    """Steps 2 and 3: what is known after the entries so far."""

    ring: KeyRing
    tables: Tables | None
    story: Story = field(default_factory=Story)
    frontier: Frontier = field(default_factory=Frontier)
    roots: dict[int, bytes] = field(default_factory=dict)
    tops: list[bytes] = field(default_factory=list)  # roots of full batches
    proposed: dict[int, bytes] = field(default_factory=dict)  # roots at the sizes that witnesses were asked about


def rebuild(report: Report, jobs: int = 1, *, tables: bool = True) -> Figures:
    """Check everything; `report` is told (stage, done, total). Raises FsckError.

    With `tables` off, step 5 is left out: a log may have been copied without the rest. Runs in one read-only
    transaction on one snapshot; a caller's transaction must be all its own.
    """
    started = time.monotonic()
    with transaction.atomic():
        source = _snapshot(jobs)
        size = _count("SELECT coalesce(max(index) + 1, 0) FROM ledger_logentry")
        report("entries", 0, size)
        walk = _Walk(_root_ring(), Tables() if tables else None)
        walk.proposed = dict.fromkeys(cosignatures.proposed_sizes(_rows), b"")
        candidates = _candidates(walk.ring)
        for batch in pool.batches(source, size, candidates, jobs) if source else _read_here(size, candidates):
            _take(walk, batch)
            report("entries", walk.frontier.size, size)
        _check_rest(walk, size)
        rows = walk.tables.compare(report) if walk.tables is not None else 0
    return Figures(size, len(walk.roots), rows, time.monotonic() - started)


def check_and_record(report: Report = lambda *_: None, jobs: int = 1, *, tables: bool = True) -> FsckRun:
    """Run `rebuild` and keep the outcome as a row; a problem is an alarm: logged as an error, shown to officers."""
    started, clock = timezone.now(), time.monotonic()
    problem = ""
    try:
        rebuild(report, jobs, tables=tables)
    except FsckError as error:
        problem = str(error)
    entries = _count("SELECT coalesce(max(index) + 1, 0) FROM ledger_logentry")
    run = FsckRun.objects.create(
        started_at=started, seconds=time.monotonic() - clock, entries=entries, problem=problem
    )
    if problem:
        logger.error("ALARM: the log and its tables do not agree: %s", problem)
    return run


def _take(walk: _Walk, batch: Batch) -> None:
    heads = {head.size: head for head in batch.heads}
    for offset, (leaf, leaf_hash) in enumerate(zip(batch.leaves, batch.hashes, strict=True)):
        index = batch.low + offset
        _check_entry(walk, index, leaf_hash, leaf)
        walk.frontier.append(leaf_hash)
        if index + 1 in walk.proposed:
            walk.proposed[index + 1] = walk.frontier.root()
        if index + 1 in heads:
            _check_head(walk, heads[index + 1], walk.frontier.root())
    if batch.problem or batch.node_problem:
        raise FsckError(batch.problem or batch.node_problem)
    if len(batch.hashes) == BATCH:
        subtree = Frontier()
        for leaf_hash in batch.hashes:
            subtree.append(leaf_hash)
        walk.tops.append(subtree.root())


def _check_entry(walk: _Walk, index: int, leaf_hash: bytes, leaf: Leaf) -> None:
    predicate = leaf.predicate
    try:
        if not all(keys & leaf.signed_by for keys in walk.ring.signers(index, predicate)):
            # The hints led to other keys: ask with the right ones, for a verdict in words.
            walk.ring.open(index, Envelope.parse(bytes(_rows(_ENVELOPE, (index,))[0][0])))
        else:
            walk.ring.admit(index, predicate)
        check(walk.story, index, predicate)
        if isinstance(predicate, Challenge | ContinuationChallenge):
            _check_challenge(walk, index, predicate)
    except RuleError as error:
        raise FsckError(str(error)) from error
    except (StatementError, TlogError) as error:
        raise FsckError(f"log entry {index} ({predicate.slug}): {error}") from error
    if walk.tables is not None:
        walk.tables.apply(index, predicate, walk.story)
    walk.story.add(index, leaf_hash, predicate)
    if isinstance(predicate, ClientEnrolment):
        del walk.story.statements[index]


def _check_challenge(walk: _Walk, index: int, challenge: Challenge | ContinuationChallenge) -> None:
    past = walk.ring.open_checkpoint(challenge.checkpoint, settings.LEDGER_ORIGIN)
    check_challenge_size(index, challenge, past.size)
    if walk.roots.get(past.size) != past.root:
        known = walk.roots.get(past.size)
        expected = "no checkpoint of that size was published" if known is None else f"the leaves give {known.hex()}"
        raise FsckError(
            f"challenge {index} holds a checkpoint of size {past.size} and root {past.root.hex()}; {expected}"
        )


def _check_head(walk: _Walk, head: Head, root: bytes) -> None:
    by = f"the checkpoint of size {head.size}"
    try:
        if head.signed is None or head.key != walk.ring.log_key_at(head.size):
            signed = walk.ring.open_checkpoint(head.note, settings.LEDGER_ORIGIN)
        else:
            signed = head.signed
    except TlogError as error:
        raise FsckError(f"{by} does not check out: {error}") from error
    for what, got, want in (
        ("is stored with the root", head.root.hex(), root.hex()),
        ("is signed for the root", signed.root.hex(), root.hex()),
        ("is signed for the size", str(signed.size), str(head.size)),
    ):
        if got != want:
            raise FsckError(f"{by} {what} {got}, the leaves give {want}")
    walk.roots[head.size] = root


def _check_rest(walk: _Walk, size: int) -> None:
    """Step 4."""
    cosignatures.check(_rows, walk.proposed, size)
    problem = leaves.compare_nodes(_rows, 0, walk.tops, range(LEVELS, size.bit_length() + 1))
    if problem:
        raise FsckError(problem)
    for level, index in _rows(
        "SELECT level, index FROM ledger_lognode WHERE index >= %s >> level ORDER BY level, index LIMIT 1", (size,)
    ):
        raise FsckError(
            f"the hash of level {level}, subtree {index}, is stored, but {size} entries do not reach it"
        )
    for beyond, root in _rows("SELECT size, root FROM ledger_checkpoint WHERE size > %s OR size = 0", (size,)):
        if beyond:
            raise FsckError(f"there is a checkpoint of size {beyond}, but the log has {size} entries")
        if bytes(root) != EMPTY_ROOT:
            raise FsckError(
                f"the checkpoint of size 0 has the root {bytes(root).hex()}, expected {EMPTY_ROOT.hex()}"
            )


def _root_ring() -> KeyRing:
    try:
        return keys.root_ring()
    except StatementError as error:
        # A rotation that cannot be read, most likely: then the leaves say which entry it is.
        size = _count("SELECT coalesce(max(index) + 1, 0) FROM ledger_logentry")
        for batch in _read_here(size, Candidates(settings.LEDGER_ORIGIN, {}, [])):
            if batch.problem:
                raise FsckError(batch.problem) from error
        raise FsckError(f"the keys of this log cannot be told: {error}") from error


def _candidates(ring: KeyRing) -> Candidates:
    """Every key that the provider or the log ever had, if the rotations are what they seem."""
    said = [Statement.decode(envelope.payload).predicate for _, envelope in keys.rotations()]
    rotated = [one for one in said if isinstance(one, KeyRotation)]
    provider = {ring.provider, *(one.new_key for one in rotated if one.role == "provider")}
    own = {key_format.keyid(key_format.public_from_hex(key)): key for key in provider}
    log_keys = [ring.log_keys[0][1], *(one.new_key for one in rotated if one.role == "log")]
    return Candidates(settings.LEDGER_ORIGIN, own, log_keys)


def _read_here(size: int, candidates: Candidates) -> Iterator[Batch]:
    for low in range(0, size, BATCH):
        yield leaves.read_batch(_rows, low, min(low + BATCH, size), candidates)


def _snapshot(jobs: int) -> pool.Source | None:
    """Make this transaction see one moment; None if the batches are read right here."""
    if len(connection.savepoint_ids) == 0:  # no caller's transaction, which may have begun long ago
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    if jobs < 2:
        return None
    parameters = {
        name: value
        for name, value in connection.get_connection_params().items()
        if isinstance(value, str | int) and name not in {"cursor_factory", "context"}
    }
    return pool.Source(parameters, _rows("SELECT pg_export_snapshot()", ())[0][0])


def _rows(query: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, list(parameters))
        return list(cursor.fetchall())


def _count(query: str) -> int:
    return int(_rows(query, ())[0][0])
