"""One proof for many leaves: the complete subtrees that hold none of them.

`outside` names these subtrees, left to right; with their hashes and those of the leaves anybody folds the root
again, by the definition of RFC 6962 section 2.1, and `fold` does. For n of N leaves that are less than n·log(N/n)
hashes, and none at all where every leaf is there. Pure, as `ledger.tlog.merkle`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ledger.tlog.errors import ProofError
from ledger.tlog.merkle import HASH_SIZE, Coordinate, node_hash

Subtree = tuple[int, int, bytes]  # level, index, hash


def outside(indices: Sequence[int], size: int) -> list[Coordinate]:
    """The largest complete subtrees of a tree of `size` leaves that hold none of `indices`, left to right.

    Raises ProofError unless the indices ascend strictly and lie in the tree.
    """
    _check(indices, size)
    return list(_outside(indices, 0, len(indices), 0, size)) if size else []


def fold(leaves: Sequence[tuple[int, bytes]], subtrees: Sequence[Subtree], size: int) -> bytes:
    """The root of the tree of `size` (> 0) leaves, from some leaf hashes by index and what lies `outside` of them.

    Raises ProofError unless the subtrees are exactly those.
    """
    indices = [index for index, _ in leaves]
    _check(indices, size)
    for level, index, value in subtrees:
        if len(value) != HASH_SIZE:
            raise ProofError(
                f"the hash of subtree {index} at level {level} has {len(value)} bytes, not {HASH_SIZE}"
            )
    rest = iter(subtrees)
    root = _fold(leaves, indices, 0, len(leaves), 0, size, rest)
    if next(rest, None) is not None:
        raise ProofError("there are more subtree hashes than the tree has places for")
    return root


def _outside(indices: Sequence[int], first: int, last: int, low: int, high: int) -> Iterator[Coordinate]:
    """Of leaves low..high, where indices[first:last] are those that are known."""
    count = high - low
    if last - first == count:
        return
    if first == last and not count & (count - 1):
        yield count.bit_length() - 1, low >> (count.bit_length() - 1)
        return
    middle = _middle(low, high)
    between = _bisect(indices, first, last, middle)
    yield from _outside(indices, first, between, low, middle)
    yield from _outside(indices, between, last, middle, high)


def _fold(
    leaves: Sequence[tuple[int, bytes]], indices: Sequence[int], first: int, last: int, low: int, high: int,
    rest: Iterator[Subtree],
) -> bytes:  # fmt: skip
    count = high - low
    if first == last and not count & (count - 1):
        return _next(rest, count.bit_length() - 1, low >> (count.bit_length() - 1))
    if last - first == count and not count & (count - 1):
        return _full([value for _, value in leaves[first:last]])
    if count == 1:
        return leaves[first][1]
    middle = _middle(low, high)
    between = _bisect(indices, first, last, middle)
    left = _fold(leaves, indices, first, between, low, middle, rest)
    return node_hash(left, _fold(leaves, indices, between, last, middle, high, rest))


def _full(hashes: list[bytes]) -> bytes:
    """Root of a complete subtree, level by level."""
    while len(hashes) > 1:
        hashes = [node_hash(hashes[i], hashes[i + 1]) for i in range(0, len(hashes), 2)]
    return hashes[0]


def _next(rest: Iterator[Subtree], level: int, index: int) -> bytes:
    found = next(rest, None)
    if found is None or found[:2] != (level, index):
        got = "the list ends" if found is None else f"subtree {found[1]} at level {found[0]} comes"
        raise ProofError(f"the hash of subtree {index} at level {level} is due, but {got}")
    return found[2]


def _middle(low: int, high: int) -> int:
    """Where RFC 6962 splits: after the largest power of two below the number of leaves."""
    return low + (1 << (high - low - 1).bit_length() - 1)


def _bisect(indices: Sequence[int], first: int, last: int, middle: int) -> int:
    """How many of the sorted indices, counted from the start, lie below `middle`."""
    while first < last:
        half = (first + last) // 2
        if indices[half] < middle:
            first = half + 1
        else:
            last = half
    return first


def _check(indices: Sequence[int], size: int) -> None:
    before = -1
    for index in indices:
        if not before < index < size:
            raise ProofError(f"leaf {index} follows leaf {before} in a tree of {size}: expected ascending indices")
        before = index
