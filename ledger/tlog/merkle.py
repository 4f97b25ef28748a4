"""RFC 6962 Merkle trees over SHA-256: hashing, storing, proving, checking.

The hash of a leaf is ``H(0x00 ‖ data)``, of an inner node ``H(0x01 ‖ left ‖ right)``, of the empty tree
``H("")``. A tree of n > 1 leaves splits at k, the largest power of two below n (RFC 6962 section 2.1), so
every complete subtree is aligned: the one at level l with index i covers leaves ``i·2^l`` up to
``(i+1)·2^l``, and its hash never changes again. Only those are stored; everything else is folded from them.

Storage enters through `HashReader`, one method that reads a batch of coordinates (level, index); level 0 is
the leaves. The calls come in pairs: `prove_inclusion` and `verify_inclusion`, `prove_consistency` and
`verify_consistency` (proofs as in RFC 9162 sections 2.1.3 and 2.1.4).

In this module ``leaf`` is always a leaf *hash* of 32 bytes, as `leaf_hash` makes it; ``data`` and ``records``
are the bytes that it is made of.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Protocol

from ledger.tlog.errors import ProofError

HASH_SIZE: Final = 32
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()

Coordinate = tuple[int, int]
Range = tuple[int, int]


class HashReader(Protocol):
    """Reads stored hashes of complete subtrees."""

    def read(self, coordinates: Sequence[Coordinate]) -> list[bytes]:
        """Return the hash of each (level, index), in the order asked; raise if one is not stored."""
        ...


def leaf_hash(data: bytes) -> bytes:
    """Hash one record: ``H(0x00 ‖ data)`` (RFC 6962 section 2.1)."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash two subtrees of 32 bytes each: ``H(0x01 ‖ left ‖ right)`` (RFC 6962 section 2.1)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def new_nodes(index: int, leaf: bytes, reader: HashReader) -> list[tuple[int, int, bytes]]:
    """Return what must be stored when the leaf hash `leaf` becomes leaf number `index`.

    The leaf itself comes first, then every subtree that it completes, upwards: (level, index, hash). The
    reader must hold what the `index` leaves before it made; only their complete subtrees are read.

    Raises ProofError if `index` is negative or `leaf` is not 32 bytes.
    """
    if index < 0:
        raise ProofError(f"a leaf's index is 0 or more, got {index}")
    _check_hash("leaf hash", leaf)
    # Every trailing 1 bit of the index is a complete left sibling that waits for its right half.
    completed = ((index + 1) & -(index + 1)).bit_length() - 1
    lefts = _read(reader, [(level, (index >> level) - 1) for level in range(completed)])
    nodes = [(0, index, leaf)]
    for level, left in enumerate(lefts):
        nodes.append((level + 1, index >> (level + 1), node_hash(left, nodes[-1][2])))
    return nodes


def tree_root(size: int, reader: HashReader) -> bytes:
    """Return the root of the tree's first `size` leaves (RFC 6962 section 2.1), reading O(log size) hashes.

    Raises ProofError if `size` is negative.
    """
    if size < 0:
        raise ProofError(f"a tree's size is 0 or more, got {size}")
    return _fold(_read(reader, _cover(0, size))) if size else EMPTY_ROOT


def prove_inclusion(index: int, size: int, reader: HashReader) -> list[bytes]:
    """Return the audit path of leaf `index` in the tree of `size` leaves (RFC 9162 section 2.1.3.1).

    Raises ProofError unless 0 <= index < size.
    """
    _check_index(index, size)
    ranges: list[Range] = []
    low, high = 0, size
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            ranges.append((middle, high))
            high = middle
        else:
            ranges.append((low, middle))
            low = middle
    return _hash_ranges(reversed(ranges), reader)


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Check that the leaf hash `leaf` is leaf `index` of the tree (size, root) (RFC 9162 section 2.1.3.2).

    Returns nothing; raises ProofError if it is not, or if any argument is malformed.
    """
    _check_index(index, size)
    _check_hash("leaf hash", leaf)
    _check_hash("root", root)
    _check_hashes(proof)
    node, last, current = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise ProofError(f"the inclusion proof of {len(proof)} hashes is too long for {size} leaves")
        if node & 1 or node == last:
            current = node_hash(sibling, current)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            current = node_hash(current, sibling)
        node, last = node >> 1, last >> 1
    if last != 0:
        raise ProofError(f"the inclusion proof of {len(proof)} hashes is too short for {size} leaves")
    if current != root:
        raise ProofError(
            f"leaf {index} is not proved: its path leads to root {current.hex()}, the tree has {root.hex()}"
        )


def prove_consistency(old: int, new: int, reader: HashReader) -> list[bytes]:
    """Return the proof that `old` leaves are a prefix of `new` leaves (RFC 9162 section 2.1.4.1).

    The proof is empty where there is nothing to prove: old = 0 or old = new. Raises ProofError unless
    0 <= old <= new.
    """
    _check_sizes(old, new)
    if old in (0, new):
        return []
    ranges: list[Range] = []
    low, high = 0, new
    while old != high:
        middle = low + _split(high - low)
        if old <= middle:
            ranges.append((middle, high))
            high = middle
        else:
            ranges.append((low, middle))
            low = middle
    # The verifier knows the root of the old tree itself; any other last subtree must be named.
    if low:
        ranges.append((low, high))
    return _hash_ranges(reversed(ranges), reader)


def verify_consistency(
    old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """Check that the tree (new_size, new_root) extends (old_size, old_root) (RFC 9162 section 2.1.4.2).

    Returns nothing; raises ProofError if it does not, or if any argument is malformed. An empty old tree is
    a prefix of every tree: then the proof must be empty and `old_root` the empty tree's.
    """
    _check_sizes(old_size, new_size)
    _check_hash("old root", old_root)
    _check_hash("new root", new_root)
    _check_hashes(proof)
    if old_size in (0, new_size):
        _check_trivial_consistency(old_size, old_root, new_size, new_root, proof)
        return
    rebuilt_old, rebuilt_new = _rebuild_roots(old_size, old_root, new_size, proof)
    if rebuilt_old != old_root:
        raise ProofError(f"the consistency proof rebuilds old root {rebuilt_old.hex()}, expected {old_root.hex()}")
    if rebuilt_new != new_root:
        raise ProofError(f"the consistency proof rebuilds new root {rebuilt_new.hex()}, expected {new_root.hex()}")


class MemoryTree:
    """A tree that lives in memory, every complete subtree of it; a `HashReader`."""

    def __init__(self, records: Iterable[bytes] = ()) -> None:
        self._levels: list[list[bytes]] = [[]]
        for record in records:
            self.append(record)

    def __len__(self) -> int:
        return len(self._levels[0])

    def append(self, data: bytes) -> int:
        """Append one record (its bytes, not its hash) and return its index."""
        index = len(self)
        for level, _, digest in new_nodes(index, leaf_hash(data), self):
            if level == len(self._levels):
                self._levels.append([])
            self._levels[level].append(digest)
        return index

    def read(self, coordinates: Sequence[Coordinate]) -> list[bytes]:
        """Return the stored hashes; raises ProofError for a subtree that is not complete yet."""
        return [self._at(level, index) for level, index in coordinates]

    def root(self, size: int | None = None) -> bytes:
        """Return the root of the first `size` leaves, by default of all of them."""
        return tree_root(len(self) if size is None else size, self)

    def _at(self, level: int, index: int) -> bytes:
        if 0 <= level < len(self._levels) and 0 <= index < len(self._levels[level]):
            return self._levels[level][index]
        raise ProofError(f"the tree of {len(self)} leaves has no complete subtree {index} at level {level}")


def root_of(records: Sequence[bytes]) -> bytes:
    """Return the RFC 6962 root over `records`, each the data of one leaf."""
    sha256 = hashlib.sha256  # `leaf_hash` and `node_hash` written out: a bundle has a hundred thousand of these
    hashes = [sha256(b"\x00" + record).digest() for record in records] or [EMPTY_ROOT]
    while len(hashes) > 1:  # a last one without a partner goes up as it is: that is where RFC 6962 splits
        odd = hashes[len(hashes) & ~1 :]
        pairs = zip(hashes[::2], hashes[1::2], strict=False)
        hashes = [sha256(b"\x01" + left + right).digest() for left, right in pairs] + odd
    return hashes[0]


def _split(count: int) -> int:
    """Return the largest power of two below `count` (count > 1): where RFC 6962 splits."""
    return 1 << (count - 1).bit_length() - 1


def _cover(low: int, high: int) -> Iterator[Coordinate]:
    """Yield the complete subtrees that make up leaves low..high, the largest first.

    `low` must be aligned as RFC 6962's splits align it, so that each piece is a stored subtree.
    """
    for level in reversed(range((high - low).bit_length())):
        if (high - low) >> level & 1:
            yield level, low >> level
            low += 1 << level


def _fold(hashes: Sequence[bytes]) -> bytes:
    """Join the subtrees of `_cover` into the hash of their range, from the right."""
    current = hashes[-1]
    for left in reversed(hashes[:-1]):
        current = node_hash(left, current)
    return current


def _hash_ranges(ranges: Iterable[Range], reader: HashReader) -> list[bytes]:
    """Return the hash of each leaf range, with one read for all of them."""
    covers = [list(_cover(low, high)) for low, high in ranges]
    hashes = iter(_read(reader, [coordinate for cover in covers for coordinate in cover]))
    return [_fold([next(hashes) for _ in cover]) for cover in covers]


def _read(reader: HashReader, coordinates: Iterable[Coordinate]) -> list[bytes]:
    wanted = list(coordinates)
    hashes = reader.read(wanted) if wanted else []
    assert len(hashes) == len(wanted), "a HashReader returns one hash for each coordinate"
    return hashes


def _rebuild_roots(old_size: int, old_root: bytes, new_size: int, proof: Sequence[bytes]) -> tuple[bytes, bytes]:
    """Steps 2 to 6 of RFC 9162 section 2.1.4.2: the old and the new root that the proof leads to."""
    path = list(proof)
    # A complete old tree is a subtree of the new one, and the proof leaves it out.
    if old_size & (old_size - 1) == 0:
        path.insert(0, old_root)
    if not path:
        raise ProofError(f"the consistency proof from {old_size} to {new_size} leaves is empty")
    node, last = old_size - 1, new_size - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    rebuilt_old = rebuilt_new = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise ProofError(f"the consistency proof of {len(proof)} hashes is too long")
        if node & 1 or node == last:
            rebuilt_old = node_hash(sibling, rebuilt_old)
            rebuilt_new = node_hash(sibling, rebuilt_new)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            rebuilt_new = node_hash(rebuilt_new, sibling)
        node, last = node >> 1, last >> 1
    if last != 0:
        raise ProofError(f"the consistency proof of {len(proof)} hashes is too short")
    return rebuilt_old, rebuilt_new


def _check_trivial_consistency(
    old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: Sequence[bytes]
) -> None:
    if proof:
        raise ProofError(f"the consistency proof from {old_size} to {new_size} leaves is empty, got {len(proof)}")
    expected_old = EMPTY_ROOT if old_size == 0 else new_root
    if old_root != expected_old:
        raise ProofError(
            f"the tree of {old_size} leaves has root {expected_old.hex()}, got {old_root.hex()}: a fork"
        )
    if new_size == 0 and new_root != EMPTY_ROOT:
        raise ProofError(f"the empty tree has root {EMPTY_ROOT.hex()}, got {new_root.hex()}")


def _check_index(index: int, size: int) -> None:
    if not 0 <= index < size:
        raise ProofError(f"there is no leaf {index} in a tree of {size} leaves")


def _check_sizes(old: int, new: int) -> None:
    if not 0 <= old <= new:
        raise ProofError(f"a tree grows from a smaller to a larger size, got {old} and {new}")


def _check_hash(what: str, digest: bytes) -> None:
    if len(digest) != HASH_SIZE:
        raise ProofError(f"a {what} is {HASH_SIZE} bytes, got {len(digest)}")


def _check_hashes(proof: Sequence[bytes]) -> None:
    for digest in proof:
        _check_hash("hash in a proof", digest)
