"""Step 10: files against what the statements say of them."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple, cast

from ledger.bundle import contents
from ledger.bundle.container import Container
from ledger.bundle.errors import BundleFormatError
from ledger.statements import predicates as kinds
from ledger.statements.predicates import Predicate
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


class Files:
    """Step 10, begun as soon as the statements were read, so that helping processes have something to do while this
    one applies the rules. What counts is only what `finish` says.
    """

    def __init__(self, helpers: Helpers | None = None) -> None:
        self._helpers = helpers or Helpers(1)
        self._named: dict[str, str] = {}  # what each file is, by SHA-256
        self._batches: list[Sequence[Wanted]] = []
        self._asked: list[Callable[[], bool]] = []

    def begin(self, audit: Audit) -> None:
        """Note what the statements say of files, and ask helpers that can read the bundle to look at them."""
        said = {entry.at: entry.said for entry in audit.entries if type(entry.said) in contents.NAMING_FILES}
        self._named = {
            digest: what for one in said.values() for digest, what in contents.files_of(one, audit.manifest.proofs)
        }
        roots = _roots(said)
        wanted = [(digest, roots.get(digest, ())) for digest in self._named]
        self._batches = [wanted[start : start + _BATCH] for start in range(0, len(wanted), _BATCH)]
        if self._helpers.share:
            self._asked = [self._helpers.ask(_are_good, batch) for batch in self._batches]

    def finish(self, audit: Audit) -> None:
        """When the statements have passed the rules. Raises AuditError: a file is missing, superfluous, not what
        its name says, or has another Merkle root. The first is named, however many processes look at them.
        """
        with audit.report.step("files"):
            self._expect_names(audit.container)
            for number, batch in enumerate(self._batches):
                if not self._asked or not self._asked[number]():
                    _check_here(audit.container, batch)
            size = sum(audit.container.members[contents.FILES + digest].size for digest in self._named)
            points = sum(len(roots) for batch in self._batches for _, roots in batch)
            count = len(self._named)
            detail = f"{count} files, {size / 1e6:.1f} MB, have the logged digests, {points} Merkle roots good"
            audit.report.say("files", detail if count else "no statement names one")

    def _expect_names(self, container: Container) -> None:
        names = set(container.members) - set(contents.FIXED)
        wanted = {contents.FILES + digest: what for digest, what in self._named.items()}
        for name, what in wanted.items():
            if name not in names:
                raise AuditError(f"the bundle lacks {what}, SHA-256 {name.removeprefix(contents.FILES)}")
        more = sorted(names - wanted.keys())
        if more:
            raise AuditError(f"the bundle has a file that no statement names: {more[0]}")


def _roots(said: Mapping[int, Predicate]) -> dict[str, list[_Root]]:
    """What was logged of point files, by digest. A commitment that names no circuit release is left out here: the
    rules refuse it.
    """
    found: defaultdict[str, list[_Root]] = defaultdict(list)
    for index, one in said.items():
        kind = type(one)
        if kind is kinds.Claim:
            by, claim = f"claim {index}", cast(kinds.Claim, one)
            found[claim.weights_sha256].append(_Root(claim.weights_root, 1, by))
            found[claim.solution_sha256].append(_Root(claim.solution_root, 2, by))
        elif kind is kinds.ModelCommitment:
            by, held = f"commitment {index}", cast(kinds.ModelCommitment, one)
            circuit = said.get(held.circuit.index)
            if isinstance(circuit, kinds.CircuitRelease):
                each = circuit.parameters.rank + circuit.parameters.block_size
                found[held.weights_sha256].append(_Root(held.weights_root, 1, by))
                found[held.curvature_sha256].append(_Root(held.curvature_root, each, by))
    return found


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
    name = contents.FILES + digest
    if not roots:
        hashed = hashlib.sha256()
        for piece in container.pieces(name):
            hashed.update(piece)
        _expect_digest(digest, hashed.hexdigest())
        return
    data = container.read(name, contents.MAX_FILE_BYTES)
    _expect_digest(digest, hashlib.sha256(data).hexdigest())
    for one in roots:
        size = one.points * POINT_BYTES
        records = [data[i : i + size] for i in range(0, len(data), size)]
        if len(data) % size or root_of(records).hex() != one.root:
            raise AuditError(f"a point file of {one.by} does not have the Merkle root that was logged")


def _expect_digest(wanted: str, got: str) -> None:
    if got != wanted:
        raise AuditError(f"the file called {wanted} has another SHA-256, {got}")
