"""Writing a bundle: a pure function of what goes in, one piece in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from ledger.bundle import contents
from ledger.bundle.container import Writer
from ledger.bundle.contents import Manifest
from ledger.tlog.multiproof import Subtree

_BATCH = 500  # lines that are written together


@dataclass(frozen=True)
class Source:
    """Where a bundle's contents come from; `file` gives a file's bytes in pieces.

    `consistency` and `digests`, the files' names, are asked when all entries were taken: they follow from these.
    """

    manifest: Manifest
    checkpoint: str
    entries: Iterable[tuple[int, bytes]]
    tree: Iterable[Subtree]
    consistency: Callable[[], dict[int, list[bytes]]]
    digests: Callable[[], Iterable[str]]
    file: Callable[[str], Iterable[bytes]]


def write_bundle(out: BinaryIO, source: Source) -> int:
    """Write the archive into a seekable file; returns its length. Raises BundleFormatError: too large."""
    writer = Writer(out)
    writer.add(contents.README, [contents.README_TEXT.encode()])
    writer.add(contents.MANIFEST, [contents.format_manifest(source.manifest)])
    writer.add(contents.CHECKPOINT, [source.checkpoint.encode()])
    writer.add(contents.ENTRIES, _joined(contents.format_entry(*entry) for entry in source.entries))
    writer.add(contents.TREE, _joined(contents.format_subtree(*one) for one in source.tree))
    proofs = sorted(source.consistency().items())
    writer.add(contents.CONSISTENCY, _joined(contents.format_consistency(*one) for one in proofs))
    for digest in sorted(set(source.digests())):
        writer.add(contents.FILES + digest, source.file(digest))
    return writer.close()


def _joined(lines: Iterator[bytes]) -> Iterator[bytes]:
    batch: list[bytes] = []
    for line in lines:
        batch.append(line)
        if len(batch) == _BATCH:
            yield b"".join(batch)
            batch.clear()
    yield b"".join(batch)
