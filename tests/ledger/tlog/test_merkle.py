import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.tlog.errors import ProofError
from ledger.tlog.merkle import (
    EMPTY_ROOT,
    MemoryTree,
    leaf_hash,
    new_nodes,
    node_hash,
    prove_consistency,
    prove_inclusion,
    root_of,
    tree_root,
    verify_consistency,
    verify_inclusion,
)
from tests import reference_merkle as reference

SMALL = 40
RECORDS = [b"record %d" % i for i in range(SMALL)]
TREE = MemoryTree(RECORDS)
VECTORS = json.loads((Path(__file__).parent / "testdata" / "rfc6962.json").read_text())


def flip(digest: bytes, position: int) -> bytes:
    return digest[:position] + bytes([digest[position] ^ 1]) + digest[position + 1 :]


class TestVectors:
    """The eight-leaf tree that Certificate Transparency's implementations test with."""

    records = [bytes.fromhex(text) for text in VECTORS["records"]]
    roots = [bytes.fromhex(text) for text in VECTORS["roots"]]

    def test_empty_root(self):
        assert EMPTY_ROOT.hex() == VECTORS["emptyRoot"] == root_of([]).hex()

    def test_roots(self):
        tree = MemoryTree(self.records)
        assert [tree.root(size) for size in range(1, 9)] == self.roots
        assert [root_of(self.records[:size]) for size in range(1, 9)] == self.roots

    @pytest.mark.parametrize("vector", VECTORS["inclusion"], ids=str)
    def test_inclusion(self, vector):
        proof = [bytes.fromhex(text) for text in vector["proof"]]
        index, size = vector["index"], vector["size"]
        assert prove_inclusion(index, size, MemoryTree(self.records)) == proof
        verify_inclusion(leaf_hash(self.records[index]), index, size, proof, self.roots[size - 1])

    @pytest.mark.parametrize("vector", VECTORS["consistency"], ids=str)
    def test_consistency(self, vector):
        proof = [bytes.fromhex(text) for text in vector["proof"]]
        old, new = vector["old"], vector["new"]
        assert prove_consistency(old, new, MemoryTree(self.records)) == proof
        verify_consistency(old, self.roots[old - 1], new, self.roots[new - 1], proof)


def test_hashes_are_separated_by_a_first_byte():
    assert leaf_hash(b"x") == hashlib.sha256(b"\x00x").digest()
    assert node_hash(b"l" * 32, b"r" * 32) == hashlib.sha256(b"\x01" + b"l" * 32 + b"r" * 32).digest()


@pytest.mark.parametrize("size", range(SMALL + 1))
def test_root_is_the_reference_root(size):
    assert tree_root(size, TREE) == reference.root(RECORDS[:size]) == root_of(RECORDS[:size])


@pytest.mark.parametrize("size", range(1, SMALL + 1))
def test_every_inclusion_proof(size):
    root = tree_root(size, TREE)
    for index in range(size):
        proof = prove_inclusion(index, size, TREE)
        assert proof == reference.path(index, RECORDS[:size])
        verify_inclusion(leaf_hash(RECORDS[index]), index, size, proof, root)
        for other in set(range(size)) - {index}:
            with pytest.raises(ProofError):
                verify_inclusion(leaf_hash(RECORDS[index]), other, size, proof, root)


@pytest.mark.parametrize("new", range(SMALL + 1))
def test_every_consistency_proof(new):
    for old in range(new + 1):
        proof = prove_consistency(old, new, TREE)
        assert proof == (reference.proof(old, RECORDS[:new]) if old else [])
        verify_consistency(old, tree_root(old, TREE), new, tree_root(new, TREE), proof)
        for other in set(range(1, new)) - {old}:
            with pytest.raises(ProofError):
                verify_consistency(other, tree_root(old, TREE), new, tree_root(new, TREE), proof)


def test_new_nodes_are_exactly_the_complete_subtrees():
    stored = {}
    tree = MemoryTree()
    for index, record in enumerate(RECORDS):
        nodes = new_nodes(index, leaf_hash(record), tree)
        assert nodes[0] == (0, index, leaf_hash(record))
        for level, position, digest in nodes:
            assert (level, position) not in stored
            stored[level, position] = digest
        tree.append(record)
    expected = {
        (level, position): reference.root(RECORDS[position << level : (position + 1) << level])
        for level in range(SMALL.bit_length())
        for position in range(SMALL >> level)
    }
    assert stored == expected


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_larger_trees(data):
    size = data.draw(st.integers(SMALL + 1, 700))
    records = [i.to_bytes(2, "big") for i in range(size)]
    tree = MemoryTree(records)
    index = data.draw(st.integers(0, size - 1))
    old = data.draw(st.integers(1, size))
    inclusion, consistency = prove_inclusion(index, size, tree), prove_consistency(old, size, tree)
    assert inclusion == reference.path(index, records)
    assert consistency == reference.proof(old, records)
    verify_inclusion(leaf_hash(records[index]), index, size, inclusion, tree.root())
    verify_consistency(old, tree.root(old), size, tree.root(), consistency)


class CountingReader:
    def __init__(self, tree):
        self.tree, self.calls, self.asked = tree, 0, []

    def read(self, coordinates):
        self.calls += 1
        self.asked += coordinates
        return self.tree.read(coordinates)


@pytest.mark.parametrize("size", [1, 2, 7, 8, 29, 40])
def test_a_proof_is_one_read_of_few_hashes_inside_the_tree(size):
    for ask in (
        lambda reader: prove_inclusion(size - 1, size, reader),
        lambda reader: prove_consistency(size // 2 + 1, size, reader),
        lambda reader: tree_root(size, reader),
    ):
        reader = CountingReader(MemoryTree(RECORDS[:size]))
        ask(reader)
        assert reader.calls <= 1
        assert len(reader.asked) <= 2 * size.bit_length() ** 2


class TestCorruptedInclusion:
    size, index = 29, 17
    leaf = leaf_hash(RECORDS[17])
    proof = prove_inclusion(17, 29, TREE)
    root = tree_root(29, TREE)

    def refused(self, leaf, index, size, proof, root):
        with pytest.raises(ProofError):
            verify_inclusion(leaf, index, size, proof, root)

    def test_the_proof_itself_holds(self):
        verify_inclusion(self.leaf, self.index, self.size, self.proof, self.root)

    @pytest.mark.parametrize("position", range(32))
    def test_every_byte(self, position):
        self.refused(flip(self.leaf, position), self.index, self.size, self.proof, self.root)
        self.refused(self.leaf, self.index, self.size, self.proof, flip(self.root, position))
        for step, digest in enumerate(self.proof):
            changed = [*self.proof[:step], flip(digest, position), *self.proof[step + 1 :]]
            self.refused(self.leaf, self.index, self.size, changed, self.root)

    def test_length(self):
        for step in range(len(self.proof)):
            self.refused(self.leaf, self.index, self.size, self.proof[:step] + self.proof[step + 1 :], self.root)
        for extra in (self.root, self.leaf, EMPTY_ROOT, b"", b"short"):
            for step in range(len(self.proof) + 1):
                longer = [*self.proof[:step], extra, *self.proof[step:]]
                self.refused(self.leaf, self.index, self.size, longer, self.root)

    @pytest.mark.parametrize("digest", [b"", b"x" * 31, b"x" * 33, RECORDS[17]])
    def test_sizes_of_hashes(self, digest):
        self.refused(digest, self.index, self.size, self.proof, self.root)
        self.refused(self.leaf, self.index, self.size, self.proof, digest)

    @pytest.mark.parametrize(("index", "size"), [(-1, 29), (29, 29), (0, 0), (30, 29), (17, -29), (17, 58)])
    def test_places(self, index, size):
        self.refused(self.leaf, index, size, self.proof, self.root)

    def test_an_inner_node_is_no_leaf(self):
        """A subtree's root with the rest of its path: the prefixes of RFC 6962 are against this."""
        forged = node_hash(leaf_hash(RECORDS[0]), leaf_hash(RECORDS[1]))
        self.refused(forged, 0, 2, prove_inclusion(0, 4, TREE)[1:] * 2, tree_root(4, TREE))


class TestCorruptedConsistency:
    @pytest.mark.parametrize(("old", "new"), [(1, 2), (6, 8), (8, 13), (13, 29), (16, 40), (20, 40)])
    def test_every_byte_and_length(self, old, new):
        old_root, new_root, proof = (
            tree_root(old, TREE),
            tree_root(new, TREE),
            prove_consistency(old, new, TREE),
        )
        bad = [(flip(old_root, i), new_root, proof) for i in range(32)]
        bad += [(old_root, flip(new_root, i), proof) for i in range(32)]
        bad += [(new_root, old_root, proof), (b"", new_root, proof), (old_root, b"", proof)]
        for step, digest in enumerate(proof):
            bad += [(old_root, new_root, [*proof[:step], flip(digest, i), *proof[step + 1 :]]) for i in range(32)]
            bad.append((old_root, new_root, proof[:step] + proof[step + 1 :]))
        for extra in (old_root, new_root, EMPTY_ROOT, b"", b"short"):
            bad += [(old_root, new_root, [*proof[:step], extra, *proof[step:]]) for step in range(len(proof) + 1)]
        for corrupted_old, corrupted_new, corrupted in bad:
            with pytest.raises(ProofError):
                verify_consistency(old, corrupted_old, new, corrupted_new, corrupted)

    def test_a_fork_has_no_proof(self):
        forked = MemoryTree([*RECORDS[:19], b"other", *RECORDS[20:]])
        for old in range(20, SMALL):
            for proof in (prove_consistency(old, SMALL, TREE), prove_consistency(old, SMALL, forked)):
                with pytest.raises(ProofError):
                    verify_consistency(old, TREE.root(old), SMALL, forked.root(), proof)

    @pytest.mark.parametrize(
        ("old", "old_root", "new", "new_root", "proof"),
        [
            (5, TREE.root(5), 5, TREE.root(6), []),
            (5, TREE.root(5), 5, TREE.root(5), [EMPTY_ROOT]),
            (0, TREE.root(5), 6, TREE.root(6), []),
            (0, EMPTY_ROOT, 6, TREE.root(6), [EMPTY_ROOT]),
            (0, TREE.root(5), 0, TREE.root(5), []),
            (0, EMPTY_ROOT, 0, TREE.root(5), []),
            (6, TREE.root(6), 5, TREE.root(5), []),
            (-1, EMPTY_ROOT, 5, TREE.root(5), []),
            (4, TREE.root(4), 6, TREE.root(6), []),
        ],
    )
    def test_the_cases_without_a_path(self, old, old_root, new, new_root, proof):
        with pytest.raises(ProofError):
            verify_consistency(old, old_root, new, new_root, proof)


class TestLengthsFollowFromTheSizes:
    """A proof for other sizes is refused by its length, also where its hashes would lead to the root."""

    sizes = [(small, large) for large in range(1, 15) for small in range(large)]

    def test_inclusion(self):
        lengths = {place: len(reference.path(place[0], RECORDS[: place[1]])) for place in self.sizes}
        for index, size in self.sizes:
            proof, root = prove_inclusion(index, size, TREE), TREE.root(size)
            for place in self.sizes:
                if lengths[place] != len(proof):
                    with pytest.raises(ProofError, match=r"too long|too short"):
                        verify_inclusion(leaf_hash(RECORDS[index]), *place, proof, root)

    def test_consistency(self):
        pairs = [(old, new) for old, new in self.sizes if old]
        lengths = {pair: len(reference.proof(pair[0], RECORDS[: pair[1]])) for pair in pairs}
        for old, new in pairs:
            proof = prove_consistency(old, new, TREE)
            for pair in pairs:
                if lengths[pair] != len(proof):
                    with pytest.raises(ProofError, match=r"too long|too short|is empty"):
                        verify_consistency(pair[0], TREE.root(old), pair[1], TREE.root(new), proof)


class TestErrors:
    def test_provers_refuse_what_is_outside_the_tree(self):
        for index, size in ((0, 0), (5, 5), (-1, 5)):
            with pytest.raises(ProofError, match=f"no leaf {index} in a tree of {size}"):
                prove_inclusion(index, size, TREE)
        for old, new in ((6, 5), (-1, 5)):
            with pytest.raises(ProofError, match="smaller to a larger"):
                prove_consistency(old, new, TREE)
        with pytest.raises(ProofError, match="0 or more"):
            tree_root(-1, TREE)

    def test_new_nodes(self):
        with pytest.raises(ProofError, match="32 bytes, got 4"):
            new_nodes(0, b"data", TREE)
        with pytest.raises(ProofError, match="0 or more"):
            new_nodes(-1, EMPTY_ROOT, TREE)

    @pytest.mark.parametrize("coordinate", [(0, SMALL), (9, 0), (-1, 0), (0, -1), (3, 5)])
    def test_memory_tree_has_only_complete_subtrees(self, coordinate):
        with pytest.raises(ProofError, match="no complete subtree"):
            TREE.read([coordinate])
