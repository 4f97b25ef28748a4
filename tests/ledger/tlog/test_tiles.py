"""Paths, tiles and bundles: the specification's examples, round trips, every byte corrupted."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.tlog import merkle
from ledger.tlog.errors import ProofError, TileError
from ledger.tlog.tiles import (
    Bundle,
    Tile,
    TileHashes,
    bundles_of,
    format_bundle,
    format_tile,
    parse_bundle,
    parse_path,
    parse_tile,
    tiles_of,
)

MAX_INDEX = (2**63 - 1) // 256
INDICES = st.integers(0, MAX_INDEX) | st.integers(0, 5000)
WIDTHS = st.integers(1, 256)
TILES = st.builds(Tile, st.integers(0, 63), INDICES, WIDTHS) | st.builds(Bundle, INDICES, WIDTHS)
RECORDS = st.lists(st.binary(max_size=40), min_size=1, max_size=256)


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (Tile(0, 1234067), "tile/0/x001/x234/067"),  # the number in the specification
        (Tile(0, 1234067, 1), "tile/0/x001/x234/067.p/1"),
        (Tile(0, 0), "tile/0/000"),
        (Tile(2, 999, 255), "tile/2/999.p/255"),
        (Tile(63, 1000, 8), "tile/63/x001/000.p/8"),
        (Bundle(0), "tile/entries/000"),
        (Bundle(1234067, 40), "tile/entries/x001/x234/067.p/40"),
        (Bundle(MAX_INDEX), "tile/entries/x036/x028/x797/x018/x963/967"),
    ],
)
def test_paths(tile: Tile | Bundle, path: str) -> None:
    assert tile.path == path
    assert parse_path(path) == tile


@given(TILES)
def test_every_tile_has_one_path(tile: Tile | Bundle) -> None:
    assert parse_path(tile.path) == tile


@pytest.mark.parametrize(
    "path",
    [
        "", "tile", "tile/0", "tile/0/", "tile/0/0", "tile/0/00", "tile/0/0000", "tile/0/x000/067",
        "tile/0/001/067", "tile/0/x001", "tile/0/x001/x067", "tile/64/000", "tile/00/000", "tile/01/000",
        "tile/-1/000", "tile/data/000", "tile/0/000.p/0", "tile/0/000.p/256", "tile/0/000.p/257",
        "tile/0/000.p/01", "tile/0/000.p/", "tile/0/000.p", "tile/0/000.p/+1", "/tile/0/000", "tile/0/000/",
        "tile//0/000", "tile/0/000\n", "tile/0/٠٠٠", "tile/0/X001/067", "Tile/0/000", "tile/8/0/000",
        "tile/entries/000.p/1000", "tile/entries/x999/x999/x999/x999/x999/999", "tile/0/" + "x001/" * 7 + "000",
    ],
)  # fmt: skip
def test_other_paths_do_not_exist(path: str) -> None:
    with pytest.raises(TileError):
        parse_path(path)


@pytest.mark.parametrize("path", ["tile/0/x001/x234/067.p/12", "tile/entries/x001/067", "tile/12/000"])
def test_every_character_of_a_path_counts(path: str) -> None:
    whole = parse_path(path)
    for at in range(len(path)):
        for other in "0x1/.p9a ":
            changed = path[:at] + other + path[at + 1 :]
            if changed == path:
                continue
            try:
                found = parse_path(changed)
            except TileError:
                continue
            assert found != whole
            assert found.path == changed


@given(st.text(alphabet="tile/entris0129x.p", max_size=40))
def test_what_parses_is_canonical(text: str) -> None:
    try:
        tile = parse_path(text)
    except TileError:
        return
    assert tile.path == text
    assert re.fullmatch(r"[a-z0-9/.]+", text)


@pytest.mark.parametrize(
    "numbers", [(-1, 0, 1), (64, 0, 1), (0, -1, 1), (0, 0, 0), (0, 0, 257), (0, MAX_INDEX + 1, 1)]
)
def test_no_such_tile(numbers: tuple[int, int, int]) -> None:
    with pytest.raises(TileError, match=r"tile's|tile has"):
        Tile(*numbers)


@given(RECORDS)
def test_bundles_and_tiles_round_trip(records: list[bytes]) -> None:
    data = format_bundle(records)
    assert parse_bundle(data, len(records)) == records
    hashes = [merkle.leaf_hash(record) for record in records]
    assert parse_tile(format_tile(hashes), len(records)) == hashes


@given(st.binary(max_size=200), WIDTHS)
def test_whatever_parses_formats_to_the_same_bytes(data: bytes, width: int) -> None:
    try:
        records = parse_bundle(data, width)
    except TileError:
        return
    assert format_bundle(records) == data


def test_sizes() -> None:
    assert len(format_tile([bytes(32)] * 256)) == 8192
    assert format_bundle([b"ab", b""]) == b"\x00\x02ab\x00\x00"
    assert len(format_bundle([bytes(65_535)])) == 65_537


def test_what_is_no_tile() -> None:
    for bad in ([], [bytes(32)] * 257, [bytes(31)]):
        with pytest.raises(TileError):
            format_tile(bad)
    for data, width in ((b"", 0), (b"", 1), (bytes(32), 2), (bytes(33), 1), (bytes(8224), 257)):
        with pytest.raises(TileError):
            parse_tile(data, width)


def test_what_is_no_bundle() -> None:
    for bad in ([], [b""] * 257, [bytes(65_536)]):
        with pytest.raises(TileError):
            format_bundle(bad)
    for data, width in (
        (b"", 0),
        (b"", 1),
        (b"\x00", 1),
        (b"\x00\x01", 1),
        (b"\x00\x00\x00", 1),
        (bytes(514), 257),
    ):
        with pytest.raises(TileError):
            parse_bundle(data, width)


def test_every_byte_of_a_bundle_counts() -> None:
    records = [bytes([number]) * number for number in range(1, 12)]
    data, root = format_bundle(records), merkle.root_of(records)
    for at in range(len(data)):
        for change in (1, 0x80):
            changed = bytearray(data)
            changed[at] ^= change
            try:
                found = parse_bundle(bytes(changed), len(records))
            except TileError:
                continue
            assert merkle.root_of(found) != root
    for cut in range(len(data)):
        with pytest.raises(TileError):
            parse_bundle(data[:cut], len(records))


def test_every_byte_of_a_tile_counts() -> None:
    tree = merkle.MemoryTree([bytes([number]) for number in range(7)])
    data, root = format_tile(tree.read([(0, index) for index in range(7)])), tree.root()
    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] ^= 1
        assert merkle.tree_root(7, TileHashes(7, lambda _, changed=changed: bytes(changed))) != root  # type: ignore[misc]
    for cut in range(len(data)):
        with pytest.raises(TileError):
            parse_tile(data[:cut], 7)


SIZES = [0, 1, 2, 255, 256, 257, 511, 512, 700, 65_535, 65_536, 65_537]


@pytest.fixture(scope="module")
def tree() -> merkle.MemoryTree:
    return merkle.MemoryTree(number.to_bytes(4, "big") for number in range(SIZES[-1]))


@pytest.mark.parametrize("size", SIZES)
def test_a_tree_is_in_its_tiles(tree: merkle.MemoryTree, size: int) -> None:
    """What is read out of tiles equals what the tree itself says, for roots and proofs."""

    def fetch(tile: Tile) -> bytes:
        assert tile in stored
        assert tile.is_in(size)
        first = tile.index * 256
        return format_tile(tree.read([(8 * tile.level, first + at) for at in range(tile.width)]))

    stored = set(tiles_of(size))
    hashes = TileHashes(size, fetch)
    assert merkle.tree_root(size, hashes) == tree.root(size)
    for index in {0, 1, size // 3, size // 2, size - 2, size - 1} & set(range(size)):
        assert merkle.prove_inclusion(index, size, hashes) == merkle.prove_inclusion(index, size, tree)
        assert merkle.prove_consistency(index, size, hashes) == merkle.prove_consistency(index, size, tree)


@pytest.mark.parametrize("size", SIZES)
def test_a_tree_has_these_tiles_and_no_wider_ones(size: int) -> None:
    assert sum(tile.width for tile in tiles_of(size)) == sum(size >> 8 * level for level in range(4))
    assert sum(bundle.width for bundle in bundles_of(size)) == size
    for place in (*tiles_of(size), *bundles_of(size)):
        assert place.is_in(size)
        if place.width < 256:
            level = place.level if isinstance(place, Tile) else 0
            wider = Tile(level, place.index, place.width + 1)
            assert not wider.is_in(size)
            assert wider.is_in(size + 256**level)


def test_a_tree_has_no_hashes_beyond_its_size(tree: merkle.MemoryTree) -> None:
    hashes = TileHashes(300, lambda _: bytes(8192))
    for coordinate in ((0, 300), (0, -1), (8, 1), (9, 0), (-1, 0)):
        with pytest.raises(ProofError, match="no complete subtree"):
            hashes.read([coordinate])
