"""Step 10: files against what the statements say of them."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from typing import Final, NamedTuple

from ledger.bundle import contents
from ledger.bundle.container import Container
from ledger.bundle.errors import BundleFormatError
from ledger.statements import predicates as kinds
from ledger.tlog.merkle import root_of
from prover_worker.audit.helpers import Helpers, shared_container
from prover_worker.audit.opening import Audit
from prover_worker.curve import POINT_BYTES
from prover_worker.errors import AuditError

_BATCH: Final = 256  # files that a process looks at in one go


class _Root(NamedTuple):
    """The Merkle root that was logged of a point file with so many points in a record."""

    root: str
    points: int
    by: str


Wanted = tuple[str, Sequence[_Root]]  # SHA-256 of a file, and its roots


def check_files(audit: Audit, helpers: Helpers | None = None) -> None:
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
        roots = _roots(audit)
        _check(audit.container, [(digest, roots.get(digest, ())) for digest in wanted], helpers or Helpers(1))
        size = sum(audit.container.members[contents.FILES + digest].size for digest in wanted)
        points = sum(map(len, roots.values()))
        detail = f"{len(wanted)} files, {size / 1e6:.1f} MB, have the logged digests, {points} Merkle roots good"
        audit.report.say("files", detail if wanted else "no statement names one")


def _roots(audit: Audit) -> dict[str, list[_Root]]:
    """What was logged of point files, by digest."""
    found: defaultdict[str, list[_Root]] = defaultdict(list)
    for index, said in audit.of(kinds.ModelCommitment):
        by, p = (
            f"commitment {index}",
            audit.get(said.circuit, kinds.CircuitRelease, f"commitment {index}").parameters,
        )
        found[said.weights_sha256].append(_Root(said.weights_root, 1, by))
        found[said.curvature_sha256].append(_Root(said.curvature_root, p.rank + p.block_size, by))
    for index, claim in audit.of(kinds.Claim):
        found[claim.weights_sha256].append(_Root(claim.weights_root, 1, f"claim {index}"))
        found[claim.solution_sha256].append(_Root(claim.solution_root, 2, f"claim {index}"))
    return found


def _check(container: Container, wanted: Sequence[Wanted], helpers: Helpers) -> None:
    """All files, in order: the first that is not right is named, however many processes look at them."""
    batches = [wanted[start : start + _BATCH] for start in range(0, len(wanted), _BATCH)]
    if not helpers.share:
        for batch in batches:
            _check_here(container, batch)
        return
    asked = [(batch, helpers.ask(_are_good, batch)) for batch in batches]
    for batch, good in asked:
        if not good():
            _check_here(container, batch)


def _check_here(container: Container, batch: Sequence[Wanted]) -> None:
    for digest, roots in batch:
        _check_file(container, digest, roots)


def _are_good(batch: Sequence[Wanted]) -> bool:
    """In a process of its own: whether nothing is wrong with any of these files."""
    try:
        _check_here(shared_container(), batch)
    except (AuditError, BundleFormatError):
        return False
    return True


def _check_file(container: Container, digest: str, roots: Sequence[_Root]) -> None:
    """Digest and roots of one file. Only point files are held in memory whole."""
    hashed, held = hashlib.sha256(), []
    for piece in container.pieces(contents.FILES + digest):
        hashed.update(piece)
        if roots:
            held.append(piece)
    if hashed.hexdigest() != digest:
        raise AuditError(f"the file called {digest} has another SHA-256, {hashed.hexdigest()}")
    data = held[0] if len(held) == 1 else b"".join(held)
    for one in roots:
        size = one.points * POINT_BYTES
        records = [data[i : i + size] for i in range(0, len(data), size)]
        if len(data) % size or root_of(records).hex() != one.root:
            raise AuditError(f"a point file of {one.by} does not have the Merkle root that was logged")
