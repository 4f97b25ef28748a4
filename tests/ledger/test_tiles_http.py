"""What tlog-tiles serves: exact paths, headers, and nothing beyond the last published checkpoint."""

from __future__ import annotations

from typing import Any

import pytest
from django.conf import settings
from django.test import Client as Browser

from ledger import keys, log
from ledger.models import LogEntry
from ledger.tlog import merkle
from ledger.tlog.checkpoint import open_checkpoint
from ledger.tlog.tiles import Bundle, Tile, TileHashes, bundles_of, parse_bundle, tiles_of
from tests.ledger.test_log import append, leaves

pytestmark = pytest.mark.django_db


def get(path: str, **headers: str) -> Any:
    return Browser().get(f"/{path}", headers=headers)


def fetch(place: Tile | Bundle) -> bytes:
    response = get(place.path)
    assert response.status_code == 200, place
    return bytes(response.content)


def test_before_anything_is_published() -> None:
    append(3)
    for path in ("checkpoint", "tile/0/000.p/1", "tile/0/000.p/3", "tile/entries/000.p/1"):
        assert get(path).status_code == 404


def test_the_empty_log() -> None:
    log.publish_checkpoint()
    assert get("checkpoint").status_code == 200
    for path in ("tile/0/000", "tile/0/000.p/0", "tile/0/000.p/1", "tile/entries/000.p/0", "tile/entries/000"):
        assert get(path).status_code == 404


def test_a_reader_rebuilds_the_log_from_what_is_served() -> None:
    append(300)
    log.publish_checkpoint()
    append(2)
    head = open_checkpoint(get("checkpoint").content.decode(), keys.log_signer().verifier, settings.LEDGER_ORIGIN)
    assert head.size == 300
    records = [record for place in bundles_of(300) for record in parse_bundle(fetch(place), place.width)]
    assert records == leaves()[:300]
    hashes = TileHashes(300, fetch)
    assert merkle.tree_root(300, hashes) == head.root == merkle.root_of(records)
    merkle.verify_inclusion(
        merkle.leaf_hash(records[270]), 270, 300, merkle.prove_inclusion(270, 300, hashes), head.root
    )
    for tile in tiles_of(300):
        assert len(fetch(tile)) == 32 * tile.width


def test_partial_tiles_of_older_sizes_and_nothing_beyond() -> None:
    append(258)
    log.publish_checkpoint()
    append(20)
    full = fetch(Tile(0, 0))
    for width in (1, 100, 255):
        assert fetch(Tile(0, 0, width)) == full[: 32 * width]
        assert parse_bundle(fetch(Bundle(0, width)), width) == leaves()[:width]
    assert fetch(Tile(1, 0, 1)) == merkle.root_of(leaves()[:256])
    assert fetch(Tile(0, 1, 1)) + fetch(Tile(0, 1, 2))[32:] == fetch(Tile(0, 1, 2))
    for place in (
        Tile(0, 1, 3),
        Tile(0, 1),
        Tile(1, 0, 2),
        Tile(1, 0),
        Tile(2, 0, 1),
        Tile(0, 2, 1),
        Tile(63, 0, 1),
    ):
        assert get(place.path).status_code == 404
    for bundle in (Bundle(1, 3), Bundle(1), Bundle(2, 1), Bundle(2**55 - 1)):
        assert get(bundle.path).status_code == 404


def test_headers() -> None:
    append(257)
    log.publish_checkpoint()
    for path in ("tile/0/000", "tile/entries/000"):
        response = get(path)
        assert response["Content-Type"] == "application/octet-stream"
        assert response["Cache-Control"] == "public, max-age=31536000, immutable"
        assert "Vary" not in response
        assert "Set-Cookie" not in response
        assert response["X-Content-Type-Options"] == "nosniff"
    for path in ("tile/0/001.p/1", "tile/1/000.p/1", "tile/entries/001.p/1"):
        assert response["Content-Type"] == "application/octet-stream"
        assert get(path)["Cache-Control"] == "public, max-age=60"
    head = get("checkpoint")
    assert head["Content-Type"] == "text/plain; charset=utf-8"
    assert head["Cache-Control"] == "public, max-age=1, must-revalidate"
    assert "Cache-Control" not in get("tile/2/000.p/1")


def test_whatever_a_client_accepts() -> None:
    append()
    log.publish_checkpoint()
    for accept in ("application/octet-stream", "text/plain", "image/png", "*/*"):
        assert get("checkpoint", accept=accept).status_code == 200
        assert get("tile/0/000.p/1", accept=accept).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "tile/", "tile/0", "tile/0/0", "tile/0/000/", "tile/0/x000/000", "tile/00/000.p/1", "tile/0/000.p/01",
        "tile/0/000.p/256", "tile/8/0/000", "tile/entries/0", "tile/0/000.p/1?x=1/..", "tile/-1/000", "checkpoint/",
        "tile/0/%78001/000",
    ],
)  # fmt: skip
def test_one_path_for_each_tile(path: str) -> None:
    append(3)
    log.publish_checkpoint()
    status = get(path).status_code
    assert status == (200 if "?" in path else 404)


def test_only_reading() -> None:
    append(3)
    log.publish_checkpoint()
    for path in ("/checkpoint", "/tile/0/000.p/3"):
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            response = Browser().generic(method, path)
            assert response.status_code == 405
            assert response["Content-Type"] == "application/problem+json"
    assert LogEntry.objects.count() == 3
