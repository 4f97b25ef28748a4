"""Tiles and entry bundles (C2SP tlog-tiles v0.1.0): how a log serves its tree as static files.

A tile lists up to 256 consecutive hashes of the tree, 32 bytes each, with nothing around them. The tile at
level L with index N and width W holds the hashes of the complete subtrees (8·L, 256·N) up to (8·L, 256·N + W),
where a full tile has W = 256. Each full tile therefore is one hash of the tile above it. Its path is::

    tile/<L>/<N>            full
    tile/<L>/<N>.p/<W>      partial, 1 to 255 hashes

L is decimal from 0 to 63. N is written in groups of three digits, all but the last prefixed with x: 1234067 is
``x001/x234/067``. An entry bundle has the word ``entries`` in place of L and holds the data of the leaves that
the tile of level 0 has the hashes of, each after its length in two bytes, big-endian; so a leaf has at most
65,535 bytes.

There is no empty tile, and one path per tile: whatever else is asked for does not exist. A tree has a tile as
soon as it has the tile's last hash, so a tree of any size also has the narrower tiles of smaller trees.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from ledger.tlog.checkpoint import MAX_SIZE
from ledger.tlog.errors import ProofError, TileError
from ledger.tlog.merkle import HASH_SIZE, Coordinate, node_hash

TILE_HEIGHT: Final = 8
TILE_WIDTH: Final = 1 << TILE_HEIGHT
MAX_LEVEL: Final = 63
MAX_RECORD_BYTES: Final = 65_535

_PATH: Final = re.compile(
    r"tile/(?P<level>entries|0|[1-9][0-9]?)"
    r"/(?P<index>(?:x[0-9]{3}/){0,6}[0-9]{3})"
    r"(?:\.p/(?P<width>[1-9][0-9]{0,2}))?",
    re.ASCII,
)
_LENGTH_BYTES: Final = 2


@dataclass(frozen=True)
class Tile:
    """`width` hashes at tile level `level`, from hash 256·`index` of that level on.

    Raises TileError when made with numbers that no tile has.
    """

    level: int
    index: int
    width: int = TILE_WIDTH

    def __post_init__(self) -> None:
        if not 0 <= self.level <= MAX_LEVEL:
            raise TileError(f"a tile's level is 0 to {MAX_LEVEL}, got {self.level}")
        _check_place(self.index, self.width)

    @property
    def path(self) -> str:
        """Where the log serves it, below the log's address; inverse of `parse_path`."""
        return _path(str(self.level), self.index, self.width)

    def is_in(self, size: int) -> bool:
        """Whether a tree of `size` leaves has all hashes of this tile."""
        return self.index * TILE_WIDTH + self.width <= size >> (TILE_HEIGHT * self.level)


@dataclass(frozen=True)
class Bundle:
    """The data of `width` leaves from leaf 256·`index` on.

    Raises TileError when made with numbers that no bundle has.
    """

    index: int
    width: int = TILE_WIDTH

    def __post_init__(self) -> None:
        _check_place(self.index, self.width)

    @property
    def path(self) -> str:
        """Where the log serves it, below the log's address; inverse of `parse_path`."""
        return _path("entries", self.index, self.width)

    def is_in(self, size: int) -> bool:
        """Whether a tree of `size` leaves has all of this bundle's."""
        return self.index * TILE_WIDTH + self.width <= size


def parse_path(path: str) -> Tile | Bundle:
    """Parse a path as ``tile/0/x001/067.p/8``; raises TileError unless it is the very path of a tile or bundle."""
    match = _PATH.fullmatch(path)
    if match is None:
        raise TileError(f"a tile's path is tile/<L>/<N>[.p/<W>], got {path[:100]!r}")
    index = int(match["index"].replace("x", "").replace("/", ""))
    width = int(match["width"]) if match["width"] else TILE_WIDTH
    found = Bundle(index, width) if match["level"] == "entries" else Tile(int(match["level"]), index, width)
    if found.path != path:  # a leading group of zeros, or a full tile under a partial tile's name
        raise TileError(f"the path of this tile is {found.path}, got {path[:100]!r}")
    return found


def tiles_of(size: int) -> Iterator[Tile]:
    """Yield the tiles that a tree of `size` leaves is made of, each as wide as the tree allows."""
    for level in range(MAX_LEVEL + 1):
        hashes = size >> (TILE_HEIGHT * level)
        if not hashes:
            return
        for index in range(-(-hashes // TILE_WIDTH)):
            yield Tile(level, index, min(TILE_WIDTH, hashes - index * TILE_WIDTH))


def bundles_of(size: int) -> Iterator[Bundle]:
    """Yield the bundles that hold the data of a tree's `size` leaves, in order."""
    for index in range(-(-size // TILE_WIDTH)):
        yield Bundle(index, min(TILE_WIDTH, size - index * TILE_WIDTH))


def format_tile(hashes: Sequence[bytes]) -> bytes:
    """Return a tile's bytes; inverse of `parse_tile`. Raises TileError unless these are 1 to 256 hashes."""
    _check_width(len(hashes))
    for digest in hashes:
        if len(digest) != HASH_SIZE:
            raise TileError(f"a hash in a tile is {HASH_SIZE} bytes, got {len(digest)}")
    return b"".join(hashes)


def parse_tile(data: bytes, width: int) -> list[bytes]:
    """Return the `width` hashes of a tile; raises TileError if it has another length."""
    _check_width(width)
    if len(data) != width * HASH_SIZE:
        raise TileError(f"a tile of width {width} has {width * HASH_SIZE} bytes, got {len(data)}")
    return [data[at : at + HASH_SIZE] for at in range(0, len(data), HASH_SIZE)]


def format_bundle(records: Sequence[bytes]) -> bytes:
    """Return an entry bundle's bytes; inverse of `parse_bundle`.

    Raises TileError unless these are 1 to 256 records of at most 65,535 bytes each.
    """
    _check_width(len(records))
    parts: list[bytes] = []
    for record in records:
        if len(record) > MAX_RECORD_BYTES:
            raise TileError(f"a record in a bundle has at most {MAX_RECORD_BYTES} bytes, got {len(record)}")
        parts += (len(record).to_bytes(_LENGTH_BYTES, "big"), record)
    return b"".join(parts)


def parse_bundle(data: bytes, width: int) -> list[bytes]:
    """Return the `width` records of an entry bundle; raises TileError if it ends early or late."""
    _check_width(width)
    records: list[bytes] = []
    at = 0
    for number in range(width):
        start = at + _LENGTH_BYTES
        at = start + int.from_bytes(data[at:start], "big")
        if start > len(data) or at > len(data):
            raise TileError(f"a bundle of {width} records ends within record {number}, after {len(data)} bytes")
        records.append(data[start:at])
    if at != len(data):
        raise TileError(f"a bundle of {width} records has {len(data) - at} bytes too many")
    return records


class TileHashes:
    """Reads the hashes of a tree of `size` leaves out of its tiles: a `merkle.HashReader` for clients.

    `fetch` returns a tile's bytes. Nothing here is authenticated: check what is computed from these hashes
    against a signed root.
    """

    def __init__(self, size: int, fetch: Callable[[Tile], bytes]) -> None:
        self._size = size
        self._fetch = fetch
        self._tiles: dict[Tile, list[bytes]] = {}

    def read(self, coordinates: Sequence[Coordinate]) -> list[bytes]:
        """Return the hash of each (level, index); raises ProofError for one that the tree does not have."""
        return [self._at(level, index) for level, index in coordinates]

    def _at(self, level: int, index: int) -> bytes:
        if level < 0 or not 0 <= index < self._size >> level:
            raise ProofError(f"the tree of {self._size} leaves has no complete subtree {index} at level {level}")
        tile_level, height = divmod(level, TILE_HEIGHT)
        hashes_there = self._size >> (TILE_HEIGHT * tile_level)
        first = index << height
        place = first // TILE_WIDTH
        tile = Tile(tile_level, place, min(TILE_WIDTH, hashes_there - place * TILE_WIDTH))
        if tile not in self._tiles:
            self._tiles[tile] = parse_tile(self._fetch(tile), tile.width)
        start = first - place * TILE_WIDTH
        return _join(self._tiles[tile][start : start + (1 << height)])


def _join(hashes: list[bytes]) -> bytes:
    """The root of a complete subtree."""
    while len(hashes) > 1:
        hashes = [node_hash(hashes[at], hashes[at + 1]) for at in range(0, len(hashes), 2)]
    return hashes[0]


def _path(level: str, index: int, width: int) -> str:
    digits = str(index)
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
    name = "/".join([f"x{group}" for group in groups[:-1]] + groups[-1:])
    return f"tile/{level}/{name}" + ("" if width == TILE_WIDTH else f".p/{width}")


def _check_place(index: int, width: int) -> None:
    _check_width(width)
    if not 0 <= index <= MAX_SIZE // TILE_WIDTH:
        raise TileError(f"a tile's index is 0 to {MAX_SIZE // TILE_WIDTH}, got {index}")


def _check_width(width: int) -> None:
    if not 1 <= width <= TILE_WIDTH:
        raise TileError(f"a tile has 1 to {TILE_WIDTH} entries, got {width}")
