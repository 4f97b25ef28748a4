"""Files of commitment points: fixed-size records, one per chunk, under an RFC 6962 root.

| file | record of a chunk, in bytes |
|---|---|
| weights | 32: one compressed G1 point |
| curvature | 32·(rank + block size): points of A_0 … A_{r-1}, then of B_0 … B_{B-1} |
| solution | 64: points of f and of the digits, touched chunks only, ascending |
"""

from __future__ import annotations

from typing import Final

from ledger import blobs
from ledger.models import Client
from ledger.statements.predicates.circuit_release import CircuitParameters
from ledger.tlog import merkle
from ledger.workflow.errors import WorkflowError

POINT: Final = 32  # bytes of a compressed BN254 G1 point
WEIGHTS_RECORD: Final = POINT
SOLUTION_RECORD: Final = 2 * POINT


def curvature_record(parameters: CircuitParameters) -> int:
    """Bytes of the points that commit to one chunk's factors."""
    return POINT * (parameters.rank + parameters.block_size)


def chunk_count(parameters: CircuitParameters, total_weights: int) -> int:
    """Chunks that hold `total_weights`, the last one possibly padded."""
    return -(-total_weights // (parameters.blocks * parameters.block_size))


def check_file(client: Client, what: str, sha256: str, root: str, *, record: int, records: range) -> None:
    """Check a point file of `client`: uploaded by itself, its number of records in `records`, its root.

    Raises WorkflowError (422).
    """
    expect_upload(client, what, sha256)
    size = blobs.size(sha256)  # before it is read: it may be far too large
    count, rest = divmod(size, record)
    if rest or count not in records:
        wanted = f"{records[0]}" if len(records) == 1 else f"{records[0]} to {records[-1]}"
        raise WorkflowError(
            "wrong-size",
            f"the {what} file has {size} bytes, expected {wanted} records of {record} bytes",
            422,
        )
    data = blobs.read(sha256)
    got = merkle.root_of([data[i : i + record] for i in range(0, len(data), record)]).hex()
    if got != root:
        raise WorkflowError("wrong-root", f"the {what} file has the root {got}, but the statement says {root}", 422)


def expect_upload(client: Client, what: str, sha256: str) -> None:
    """Refuse (422) a reference to a blob that this very client has not uploaded."""
    if not blobs.owned_by(sha256, client):
        raise WorkflowError(
            "missing-blob", f"this client has uploaded no blob {sha256}: PUT the {what} file first", 422
        )
