"""A log in memory, its statements signed, and the files they name: what bundles are made of without a server."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any, Final

from ledger.statements import keys
from ledger.statements.predicates import Predicate
from ledger.statements.predicates.base import LogRef
from ledger.statements.statement import sign_statement
from ledger.tlog import merkle
from ledger.tlog.checkpoint import Checkpoint, sign_checkpoint
from ledger.tlog.note import NoteSigner

ORIGIN: Final = "ledger.example/log"


@dataclass
class MemoryLog:
    """`leaves` are the entries in order, `files` by SHA-256."""

    provider: Any = field(default_factory=keys.generate)
    signer: NoteSigner = field(default_factory=lambda: NoteSigner(ORIGIN, keys.generate()))
    tree: merkle.MemoryTree = field(default_factory=merkle.MemoryTree)
    leaves: list[bytes] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)

    def say(self, said: Predicate, key: Any = None) -> LogRef:
        """Sign, as the provider unless with another key, and append."""
        leaf = sign_statement(said, key or self.provider).to_bytes()
        self.leaves.append(leaf)
        return LogRef(index=self.tree.append(leaf), leaf_hash=merkle.leaf_hash(leaf).hex())

    def keep(self, data: bytes) -> str:
        """Keep a file; returns its digest."""
        digest = hashlib.sha256(data).hexdigest()
        self.files[digest] = data
        return digest

    def checkpoint(self) -> tuple[Checkpoint, str]:
        """The log as it is, and its signed note."""
        head = Checkpoint(ORIGIN, len(self.tree), self.tree.root())
        return head, sign_checkpoint(head, self.signer)
