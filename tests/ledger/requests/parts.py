"""What the tests about deletion requests share."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any
from unittest import mock

import pytest
from django.utils import timezone

from ledger import log, models
from ledger.fsck.run import rebuild
from ledger.workflow import request_steps, requests
from ledger.workflow.actors import Actor
from ledger.workflow.datasets import Sample, register_dataset
from ledger.workflow.errors import WorkflowError
from tests.ledger.story import FORGET

ANN, BOB, EVE = (Actor("officer", str(number), name) for number, name in enumerate(("ann", "bob", "eve"), 1))


@contextmanager
def refused(code: str, status: int) -> Any:
    """What is done inside is refused with this code and status; the log does not grow, and no event is recorded."""
    before = log.size(), models.Event.objects.count()
    with pytest.raises(WorkflowError) as caught:
        yield
    assert (caught.value.code, caught.value.status) == (code, status), caught.value.sentence
    assert len(caught.value.sentence) > 20
    assert (log.size(), models.Event.objects.count()) == before


def filed(regulation: str = "gdpr", subject: str = "Ada", **more: Any) -> models.DeletionRequest:
    return requests.file_request(regulation, subject, more.pop("forget", FORGET), **more)


def verified(*arguments: Any, **more: Any) -> models.DeletionRequest:
    return request_steps.record_identity(filed(*arguments, **more).uuid, "in-person", "verified")


def approved(*arguments: Any, **more: Any) -> models.DeletionRequest:
    return requests.decide_request(verified(*arguments, **more).uuid, "approved", "identity-verified")


@contextmanager
def days_later(days: float) -> Any:
    """The clock stands this much later."""
    with at(timezone.now() + timedelta(days=days)):
        yield


@contextmanager
def at(moment: datetime) -> Any:
    """The clock stands still at `moment`."""
    with mock.patch("django.utils.timezone.now", return_value=moment):
        yield


def pets() -> models.DatasetIndex:
    """Six samples of three classes at two sites; ids that could name people."""
    rows = [
        ("ada-1", 0, {"site": "north", "year": "2024"}), ("ada-2", 1, {"site": "south", "year": "2024"}),
        ("bob-1", 1, {"site": "north", "year": "2025"}), ("bob-2", 2, {"site": "south", "year": "2025"}),
        ("eve-1", 2, {"site": "north", "year": "2025"}), ("eve-2", 0, {"site": "south", "year": "2024"}),
    ]  # fmt: skip
    return register_dataset("pets", [Sample(*row) for row in rows])


def kinds(request: models.DeletionRequest) -> list[str]:
    """Its timeline."""
    return list(models.Event.objects.filter(request=request.uuid).order_by("id").values_list("kind", flat=True))


def holds() -> None:
    """Log and tables agree."""
    rebuild(lambda *_: None)
