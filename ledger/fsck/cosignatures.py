"""Every stored cosignature is the witness's that its row names, over the head that the leaves give."""

from __future__ import annotations

from collections.abc import Mapping

from django.conf import settings

from ledger.fsck.errors import FsckError
from ledger.fsck.leaves import Rows
from ledger.tlog.checkpoint import Checkpoint
from ledger.tlog.cosignature import CosignatureVerifier, read_cosignatures
from ledger.tlog.errors import TlogError
from ledger.tlog.merkle import EMPTY_ROOT


def proposed_sizes(rows: Rows) -> set[int]:
    """The sizes at which roots will be needed."""
    return {size for (size,) in rows("SELECT size FROM ledger_checkpointproposal", ())}


def check(rows: Rows, roots: Mapping[int, bytes], entries: int) -> None:
    """Compare proposals with the leaves' roots and check every cosignature. Raises FsckError."""
    known = {size: root for size, root in roots.items() if size <= entries} | {0: EMPTY_ROOT}
    bodies = {}
    for size, root in rows("SELECT size, root FROM ledger_checkpointproposal ORDER BY size", ()):
        if known.get(size) != bytes(root):
            expected = "the log is shorter" if size not in known else f"the leaves give {known[size].hex()}"
            raise FsckError(f"the proposal of size {size} has the root {bytes(root).hex()}; {expected}")
        bodies[size] = Checkpoint(settings.LEDGER_ORIGIN, size, bytes(root)).format()
    query = "SELECT proposal_id, vkey, line, time FROM ledger_cosignature ORDER BY proposal_id, vkey"
    for size, vkey, line, time in rows(query, ()):
        by = f"the cosignature by {vkey.split('+')[0]} on the head of size {size}"
        try:
            times = read_cosignatures(line, bodies[size], [CosignatureVerifier.parse(vkey)])
        except TlogError as error:
            raise FsckError(f"{by} does not check out: {error}") from error
        if times.get(vkey) != time:
            raise FsckError(f"{by} is stored with the time {time}, its line says {times.get(vkey)}")
