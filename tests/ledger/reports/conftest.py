"""One certified window with clients of hostile names, for the tests of a module."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from django.db import transaction
from pytest_django.plugin import DjangoDbBlocker

from ledger import models
from ledger.workflow import certificates, proofs, windows
from tests.ledger.story import Party, Story, verdict

PERSON = "Renate Müller-Özdemir, patient 4711"
NAMES = (
    'Klinik für Größe #panic("x") *b* $1/0$ <l> @ref [x] `r` // c',
    "=HYPERLINK(1)",
    "שלום عليكم",
    "漢字 😀 \u202e " + "W" * 150,
)


@dataclass
class Certified:
    window: models.Window
    request: models.DeletionRequest
    parties: list[Party]


@pytest.fixture(scope="module")
def certified(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Certified]:
    """Made once and rolled back at the end: no test of such a module may want a database of its own."""
    with django_db_blocker.unblock(), transaction.atomic():
        yield _certified(Story(tmp_path_factory.mktemp("story")))
        transaction.set_rollback(True)


def _certified(story: Story) -> Certified:
    parties = [story.party(name) for name in NAMES]
    request = story.approved_request(PERSON)
    window = _masked(story, request)
    for order, party in zip(window.orders.order_by("entry"), parties, strict=True):
        proofs.record_verdict(story.proved(party, order).uuid, verdict())
    certificates.certify(window.uuid)
    request.refresh_from_db()
    window.refresh_from_db()
    return Certified(window, request, parties)


def _masked(story: Story, request: models.DeletionRequest) -> models.Window:
    opened = windows.open_window(story.model, None, [request.uuid])
    closed = windows.close_window(opened.uuid)
    return windows.publish_mask(closed.uuid, b"mask", 2, 20, {"seed": 0})
