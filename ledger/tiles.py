"""What tlog-tiles serves, read from the log's tables: the head, tiles of hashes, bundles of entries.

Only what the latest published checkpoint covers is given out, so whatever a reader got can be checked against a
signed head, and stays the same for ever.
"""

from __future__ import annotations

from collections.abc import Iterable

from ledger import log
from ledger.models import LogEntry, LogNode
from ledger.tlog import tiles
from ledger.tlog.tiles import TILE_HEIGHT, TILE_WIDTH, Bundle, Tile


def published(path: str) -> tuple[Tile | Bundle, bytes] | None:
    """What stands at `path` (as ``tile/0/x001/067.p/8``); None if no published checkpoint covers all of it.

    Raises TileError if `path` is no tile's.
    """
    wanted = tiles.parse_path(path)
    head = log.latest_checkpoint()
    if head is None or not wanted.is_in(head.size):
        return None
    return wanted, _bundle(wanted) if isinstance(wanted, Bundle) else _tile(wanted)


def _tile(tile: Tile) -> bytes:
    rows = LogNode.objects.filter(level=TILE_HEIGHT * tile.level, index__range=_range(tile)).order_by("index")
    return tiles.format_tile(_whole(tile, rows.values_list("hash", flat=True)))


def _bundle(bundle: Bundle) -> bytes:
    rows = LogEntry.objects.filter(index__range=_range(bundle)).order_by("index")
    return tiles.format_bundle(_whole(bundle, rows.values_list("envelope", flat=True)))


def _range(place: Tile | Bundle) -> tuple[int, int]:
    first = place.index * TILE_WIDTH
    return first, first + place.width - 1


def _whole(place: Tile | Bundle, values: Iterable[bytes | memoryview]) -> list[bytes]:
    found = [bytes(value) for value in values]
    assert len(found) == place.width, f"a checkpoint covers {place.path}, but only {len(found)} rows are stored"
    return found
