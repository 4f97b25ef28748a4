"""Stand-ins that do the real thing in memory."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

from ledger.statements.predicates import Predicate
from ledger.statements.predicates.base import LogRef
from prover_worker.errors import AgentError


@dataclass
class FakeLedger:
    """The part of a LedgerClient that an agent acts on: statements by reference, files by digest, no network."""

    statements: dict[int, tuple[LogRef, Predicate]] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def log(self, index: int, predicate: Predicate) -> LogRef:
        """Put a statement at an index; return how others refer to it."""
        digest = hashlib.sha256(predicate.model_dump_json(by_alias=True).encode()).hexdigest()
        ref = LogRef(index=index, leaf_hash=digest)
        self.statements[index] = (ref, predicate)
        return ref

    def provider_statement(self, ref: LogRef, kind: type[Predicate]) -> Any:
        """As LedgerClient: the statement that was referred to, of the kind that was expected."""
        logged, predicate = self.statements[ref.index]
        if logged != ref:
            raise AgentError(f"log entry {ref.index} is not the one the ledger referred to; tell an auditor")
        if not isinstance(predicate, kind):
            raise AgentError(f"log entry {ref.index} is a {predicate.slug}; expected a {kind.slug}")
        return predicate

    def accept_checkpoint(self, note: str) -> None:
        """Remember what was accepted."""
        self.notes.append(note)

    def upload(self, data: bytes) -> str:
        """Store a file under its digest."""
        digest = hashlib.sha256(data).hexdigest()
        self.files[digest] = data
        return digest

    def download(self, digest: str) -> bytes:
        """Fetch a file."""
        return self.files[digest]
