"""Audit bundles: everything a stranger needs to check a window or a period again, in one file.

What goes in is decided in one short transaction, as a list of log indices and one checkpoint; then it is written
out, entry by entry and file by file, while the log goes on: what stands in it does not change. So the same question
about the same checkpoint gives the same bytes, whenever it is asked.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import BinaryIO, Literal, TypeVar

from django.conf import settings
from django.db.models import Max, Min

from ledger import blobs, keys, log, publication
from ledger.bundle import contents
from ledger.bundle.contents import Manifest, PeriodScope, WindowScope
from ledger.bundle.errors import BundleFormatError
from ledger.bundle.writing import Source, write_bundle
from ledger.models import Checkpoint, LogEntry, Window
from ledger.statements import predicates
from ledger.statements.dsse import Envelope
from ledger.statements.statement import Statement
from ledger.tlog import multiproof
from ledger.workflow import bundle_entries
from ledger.workflow.errors import WorkflowError
from ledger.workflow.kept_bundles import kept_or_written
from ledger.workflow.step import exclusive, get_or_refuse

Item = TypeVar("Item")
_BATCH = 1_000  # entries or hashes that are read at a time


@dataclass(frozen=True)
class Wanted:
    """What an auditor may choose: the clients' proofs or only their digests; a checkpoint that it has kept, by its
    size, to prove that it is a past of the bundle's; the published checkpoint to prove everything in, by its size.
    """

    proofs: Literal["included", "digests"] = "included"
    earlier: int | None = None
    size: int | None = None


@dataclass
class _Plan:
    """What goes into a bundle. Files and challenges' checkpoints are learned from the entries as they are read."""

    scope: WindowScope | PeriodScope
    head: Checkpoint
    indices: list[int]
    wanted: Wanted
    digests: set[str] = field(default_factory=set)
    sizes: set[int] = field(default_factory=set)


def write_window_bundle(window_id: uuid.UUID | str, out: BinaryIO, wanted: Wanted | None = None) -> int:
    """Write the bundle of one window into a seekable file; returns its length in bytes.

    Raises WorkflowError: unknown (404), not masked or published yet, no such checkpoint (409), too large (422).
    """
    publication.try_to_publish()  # before the log's lock is taken: witnesses take their time
    return _write(_plan_window(window_id, wanted or Wanted()), out)


def window_bundle(window_id: uuid.UUID | str, wanted: Wanted | None = None) -> tuple[BinaryIO, str]:
    """The bundle of one window as a file, and its SHA-256 in hex: made once, then kept for a while.

    Raises WorkflowError as `write_window_bundle`, OSError where the disk fails.
    """
    publication.try_to_publish()
    return _kept(_plan_window(window_id, wanted or Wanted()))


def period_bundle(first: int, last: int, wanted: Wanted | None = None) -> tuple[BinaryIO, str]:
    """The same of all windows that closed, and requests that were filed, from log index `first` to `last`.

    Raises WorkflowError: no such part of the log (422), nothing in it, no such checkpoint (409), too large (422).
    """
    publication.try_to_publish()
    return _kept(_plan_period(first, last, wanted or Wanted()))


def indices_between(since: datetime, until: datetime) -> tuple[int, int]:
    """The first and the last log index written from `since` on and before `until`. Raises WorkflowError (409)."""
    found = LogEntry.objects.filter(created_at__gte=since, created_at__lt=until)
    bounds = found.aggregate(first=Min("index"), last=Max("index"))
    if bounds["first"] is None:
        raise WorkflowError("empty-period", f"nothing was logged from {since.isoformat()} to {until.isoformat()}")
    return bounds["first"], bounds["last"]


@exclusive
def _plan_window(window_id: uuid.UUID | str, wanted: Wanted) -> _Plan:
    window = get_or_refuse(Window.objects.all(), "window", uuid=window_id)
    if window.mask_entry_id is None:
        raise WorkflowError("no-mask", f"window {window.uuid} is {window.state}: there is nothing to audit yet")
    scope = WindowScope(window=str(window.uuid))
    return _plan(scope, bundle_entries.of_windows([window.pk], wanted.size), wanted, window.mask_entry_id)


@exclusive
def _plan_period(first: int, last: int, wanted: Wanted) -> _Plan:
    if not 0 <= first <= last < log.size():
        raise WorkflowError(
            "no-such-period", f"the log has entries 0 to {log.size() - 1}, got {first} to {last}", 422
        )
    found = bundle_entries.of_period(first, last, wanted.size)
    if not found:
        raise WorkflowError(
            "empty-period", f"no window closed and no request was filed from entry {first} to {last}"
        )
    return _plan(PeriodScope(first=first, last=last), found, wanted, min(found))


def _plan(scope: WindowScope | PeriodScope, found: set[int], wanted: Wanted, least: int) -> _Plan:
    """Raises WorkflowError where no checkpoint will do: it must cover entry `least`, or all without a size."""
    if wanted.size is None:
        head = _head_covering(max(found))
    else:
        chosen = Checkpoint.objects.filter(size=wanted.size, size__gt=least).first()
        if chosen is None:
            raise WorkflowError(
                "no-such-checkpoint", f"no published checkpoint of size {wanted.size} covers what was asked for"
            )
        head = chosen
    if wanted.earlier is not None and not 0 <= wanted.earlier <= head.size:
        sentence = f"a checkpoint of size {wanted.earlier} is no past of the bundle's, of size {head.size}"
        raise WorkflowError("no-such-checkpoint", sentence)
    return _Plan(scope, head, sorted(index for index in found if index < head.size), wanted)


def _head_covering(index: int) -> Checkpoint:
    """The log's head; where witnesses have not cosigned that, their last one if it will do."""
    try:
        return log.publish_checkpoint()
    except log.NotCosignedError as error:
        head = log.latest_checkpoint()
        if head is None or head.size <= index:
            sentence = f"{error}; the last entry that belongs in is {index}: try again later"
            raise WorkflowError("not-cosigned", sentence) from error
        return head


def _kept(plan: _Plan) -> tuple[BinaryIO, str]:
    """The whole checkpoint belongs to the question: a log that was restored from an older backup may come to the
    same size with another history.
    """
    scope, wanted = plan.scope.model_dump(mode="json"), plan.wanted
    question = json.dumps([type(plan.scope).__name__, scope, wanted.proofs, wanted.earlier, plan.head.note])
    return kept_or_written(question.encode(), lambda out: _write(plan, out))


def _write(plan: _Plan, out: BinaryIO) -> int:
    manifest = Manifest(
        scope=plan.scope,
        origin=settings.LEDGER_ORIGIN,
        log_vkey=keys.root_vkey(),
        provider_key=keys.root_ring().provider,
        size=plan.head.size,
        entries=len(plan.indices),
        proofs=plan.wanted.proofs,
    )
    source = Source(
        manifest, plan.head.note, _entries(plan), _tree(plan), lambda: _consistency(plan), lambda: plan.digests,
        _pieces,
    )  # fmt: skip
    try:
        return write_bundle(out, source)
    except BundleFormatError as error:
        raise WorkflowError("too-large", str(error), 422) from error


def _entries(plan: _Plan) -> Iterator[tuple[int, bytes]]:
    """The leaves, ascending; what they name is noted."""
    for some in _batches(plan.indices):
        rows = LogEntry.objects.filter(index__in=some).order_by("index").values_list("index", "envelope")
        for index, envelope in rows:
            leaf = bytes(envelope)
            said = Statement.decode(Envelope.parse(leaf).payload).predicate
            plan.digests |= {digest for digest, _ in contents.files_of(said, plan.wanted.proofs)}
            if isinstance(said, predicates.Challenge | predicates.ContinuationChallenge):
                plan.sizes.add(int(said.checkpoint.split("\n")[1]))
            yield index, leaf


def _tree(plan: _Plan) -> Iterator[multiproof.Subtree]:
    for some in _batches(multiproof.outside(plan.indices, plan.head.size)):
        for (level, index), value in zip(some, log.subtrees(some), strict=True):
            yield level, index, value


def _consistency(plan: _Plan) -> dict[int, list[bytes]]:
    sizes = plan.sizes | ({plan.wanted.earlier} - {None})
    return {size: log.consistency(size, plan.head.size) for size in sizes if size is not None}


def _pieces(digest: str) -> Iterator[bytes]:
    with blobs.open_checked(digest) as file:
        while piece := file.read(1 << 20):
            yield piece


def _batches(items: list[Item]) -> Iterable[list[Item]]:
    return (items[at : at + _BATCH] for at in range(0, len(items), _BATCH))
