"""Step 10: files against what the statements say of them."""

from __future__ import annotations

import hashlib

from ledger.bundle import contents
from ledger.statements import predicates as kinds
from ledger.tlog.merkle import root_of
from prover_worker.audit.opening import Audit
from prover_worker.curve import POINT_BYTES
from prover_worker.errors import AuditError


def check_files(audit: Audit) -> None:
    """Raises AuditError: a file is missing, superfluous, not what its name says, or has another Merkle root."""
    with audit.report.step("files"):
        wanted = {
            digest: what for said in audit.statements.values()
            for digest, what in contents.files_of(said, audit.manifest.proofs)
        }  # fmt: skip
        names = set(audit.container.members) - set(contents.FIXED)
        for digest, what in wanted.items():
            if contents.FILES + digest not in names:
                raise AuditError(f"the bundle lacks {what}, SHA-256 {digest}")
        more = sorted(names - {contents.FILES + digest for digest in wanted})
        if more:
            raise AuditError(f"the bundle has a file that no statement names: {more[0]}")
        size = sum(_check_digest(audit, digest) for digest in wanted)
        points = _check_roots(audit)
        detail = f"{len(wanted)} files, {size / 1e6:.1f} MB, have the logged digests, {points} Merkle roots good"
        audit.report.say("files", detail if wanted else "no statement names one", "holds")


def _check_digest(audit: Audit, digest: str) -> int:
    hashed, name = hashlib.sha256(), contents.FILES + digest
    for piece in audit.container.pieces(name):
        hashed.update(piece)
    if hashed.hexdigest() != digest:
        raise AuditError(f"the file called {digest} has another SHA-256, {hashed.hexdigest()}")
    return audit.container.members[name].size


def _check_roots(audit: Audit) -> int:
    """Point files against the roots that were logged; returns their number."""
    count = 0
    for index, said in audit.of(kinds.ModelCommitment):
        p = audit.get(said.circuit, kinds.CircuitRelease, f"commitment {index}").parameters
        _root(audit, said.weights_sha256, said.weights_root, 1, f"commitment {index}")
        _root(audit, said.curvature_sha256, said.curvature_root, p.rank + p.block_size, f"commitment {index}")
        count += 2
    for index, claim in audit.of(kinds.Claim):
        _root(audit, claim.weights_sha256, claim.weights_root, 1, f"claim {index}")
        _root(audit, claim.solution_sha256, claim.solution_root, 2, f"claim {index}")
        count += 2
    return count


def _root(audit: Audit, digest: str, root: str, points: int, by: str) -> None:
    data, size = audit.blob(digest, f"a point file of {by}"), points * POINT_BYTES
    records = [data[i : i + size] for i in range(0, len(data), size)]
    if len(data) % size or root_of(records).hex() != root:
        raise AuditError(f"a point file of {by} does not have the Merkle root that was logged")
