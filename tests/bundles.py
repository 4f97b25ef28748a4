"""Audit bundles in tests: taken apart with Python's own zipfile, changed, and put together again."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass
from typing import Any

from ledger.bundle import contents
from ledger.bundle.container import Writer
from ledger.statements.dsse import Envelope
from ledger.statements.predicates import Predicate
from ledger.statements.statement import Statement
from ledger.tlog import multiproof
from ledger.tlog.merkle import leaf_hash, node_hash


def window_bundle(window_id: Any, **wanted: Any) -> bytes:
    """What the ledger hands out about a window."""
    from ledger.workflow.bundle import Wanted, write_window_bundle

    out = io.BytesIO()
    assert write_window_bundle(window_id, out, Wanted(**wanted)) == len(out.getvalue())
    return out.getvalue()


@dataclass
class Bundle:
    """The parts of a bundle."""

    manifest: dict[str, Any]
    checkpoint: str
    leaves: dict[int, bytes]
    tree: dict[tuple[int, int], bytes]
    consistency: dict[int, list[bytes]]
    files: dict[str, bytes]
    readme: bytes

    @classmethod
    def of(cls, data: bytes) -> Bundle:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            parts = {name: archive.read(name) for name in archive.namelist()}
        entries = [line.split(b" ", 1) for line in parts["entries.txt"].splitlines()]
        tree = [line.split() for line in parts["tree.txt"].decode().splitlines()]
        proofs = [line.split() for line in parts["consistency.txt"].decode().splitlines()]
        return cls(
            manifest=json.loads(parts["manifest.json"]),
            checkpoint=parts["checkpoint"].decode(),
            leaves={int(index): leaf for index, leaf in entries},
            tree={(int(level), int(index)): bytes.fromhex(value) for level, index, value in tree},
            consistency={int(size): [bytes.fromhex(node) for node in nodes] for size, *nodes in proofs},
            files={name[6:]: data for name, data in parts.items() if name.startswith("files/")},
            readme=parts["README.txt"],
        )

    def parts(self) -> dict[str, bytes]:
        """The members' bytes by name, in their order."""
        proofs = sorted(self.consistency.items())
        manifest = json.dumps(self.manifest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        found = {
            "README.txt": self.readme,
            "manifest.json": manifest.encode() + b"\n",
            "checkpoint": self.checkpoint.encode(),
            "entries.txt": b"".join(contents.format_entry(*one) for one in sorted(self.leaves.items())),
            "tree.txt": b"".join(contents.format_subtree(*at, value) for at, value in self.tree.items()),
            "consistency.txt": b"".join(contents.format_consistency(*one) for one in proofs),
        }
        return found | {f"files/{name}": self.files[name] for name in sorted(self.files)}

    def pack(self) -> bytes:
        return pack(self.parts())

    def leave_out(self, *indices: int) -> None:
        """As somebody would who knows what he does: the tree's hashes and the count fit again."""
        size = int(self.checkpoint.split("\n")[1])
        known = self.tree | {(0, index): leaf_hash(leaf) for index, leaf in self.leaves.items()}

        def value(level: int, index: int) -> bytes:
            if (level, index) not in known:
                known[level, index] = node_hash(value(level - 1, 2 * index), value(level - 1, 2 * index + 1))
            return known[level, index]

        for index in indices:
            del self.leaves[index]
        self.tree = {at: value(*at) for at in multiproof.outside(sorted(self.leaves), size)}
        self.manifest["entries"] = len(self.leaves)

    def said(self, index: int) -> Predicate:
        return Statement.decode(Envelope.parse(self.leaves[index]).payload).predicate

    def index(self, slug: str, number: int = 0) -> int:
        """Where the number-th statement of a kind stands."""
        return [index for index in sorted(self.leaves) if self.said(index).slug == slug][number]

    def kinds(self) -> list[str]:
        return [self.said(index).slug for index in sorted(self.leaves)]


def pack(parts: dict[str, bytes]) -> bytes:
    """A bundle's zip of these members."""
    out = io.BytesIO()
    writer = Writer(out)
    for name, data in parts.items():
        writer.add(name, [data])
    writer.close()
    return out.getvalue()
